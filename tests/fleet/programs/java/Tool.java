import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;

/** What a program can do to its executor, by the first argument. */
public class Tool {
    static void sh(String script) throws Exception {
        new ProcessBuilder("sh", "-c", script).inheritIO().start().waitFor();
    }

    static void write() throws Exception {
        Path out = Files.createDirectory(Path.of("out"));
        Files.writeString(out.resolve("a.txt"), "größe\n");
        Files.write(out.resolve("b.bin"), new byte[] {(byte) 0xff, 0, 1});
        Files.createSymbolicLink(out.resolve("link.txt"), Path.of("/etc/passwd"));
        try {
            Files.createLink(out.resolve("hard.txt"), Path.of("/etc/passwd"));
        } catch (IOException | SecurityException refused) {
            // As it should be.
        }
        sh("mkfifo out/fifo.txt");
        System.out.println("written");
    }

    public static void main(String[] args) throws Exception {
        String first = args.length > 1 ? args[1] : "";
        var rest = Arrays.asList(args).subList(1, args.length);
        switch (args[0]) {
            case "count" -> System.out.println(System.in.readAllBytes().length);
            case "echo" -> System.in.transferTo(System.out);
            case "nothing" -> System.out.println("ok");
            case "exit" -> System.exit(Integer.parseInt(first));
            case "signal" -> {
                sh("kill -" + first + " $PPID");
                Thread.sleep(60_000);
            }
            case "spin" -> {
                for (long i = 0; ; i++) if (i < 0) break;
            }
            case "sleep" -> {
                System.out.println("asleep");
                Thread.sleep((long) (Double.parseDouble(first) * 1000));
                System.out.println("awake");
            }
            case "hog" -> {
                var held = new ArrayList<byte[]>();
                for (int i = 0; i < 2048; i++) {
                    held.add(new byte[1 << 20]);
                    Arrays.fill(held.get(i), (byte) 1);
                }
                System.out.println("survived " + held.size());
            }
            case "giant" -> System.out.println("survived " + new long[400_000_000].length);
            case "print" -> {
                byte[] line = ("x".repeat(1023) + "\n").getBytes(StandardCharsets.US_ASCII);
                for (int i = 0; i < Integer.parseInt(first) / 1024; i++) System.out.write(line);
            }
            case "bytes" -> System.out.write(HexFormat.of().parseHex("fffe004100c328f09f98800a"));
            case "env" -> rest.forEach(it ->
                    System.out.println(System.getenv().getOrDefault(it, "(unset)")));
            case "args" -> rest.forEach(it -> System.out.println("[" + it + "]"));
            case "write" -> write();
            case "hold" -> {
                sh("setsid sleep 300 & (sleep 300 &)");
                System.out.println("done");
            }
            case "flush" -> {
                System.out.println("first");
                Thread.sleep(2000);
                System.out.println("second");
                System.err.println("problem");
            }
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.out.flush();
    }
}
