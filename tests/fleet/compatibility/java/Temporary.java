import java.io.*;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.util.stream.Stream;

public class Temporary {
    public static void main(String[] arguments) throws Exception {
        Path file = Files.createTempFile("x", ".txt");
        Files.writeString(file, "text");
        if (!file.startsWith(System.getenv("TMPDIR"))) throw new AssertionError(file);
        Path directory = Files.createTempDirectory("d");
        Files.copy(file, directory.resolve("copy"));
        Files.move(directory.resolve("copy"), Path.of("moved"), StandardCopyOption.REPLACE_EXISTING);
        try (FileChannel channel = FileChannel.open(Path.of("moved"), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            channel.map(FileChannel.MapMode.READ_WRITE, 0, 4).put(0, (byte) 'T');
        }
        if (!Files.readString(Path.of("moved")).equals("Text")) throw new AssertionError();
        try (Stream<Path> entries = Files.walk(Path.of("."))) {
            if (entries.noneMatch(it -> it.endsWith("moved"))) throw new AssertionError();
        }
        File.createTempFile("old", null).deleteOnExit();
        Files.delete(directory);
        System.out.println("works");
    }
}
