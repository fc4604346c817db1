import java.io.*;
import java.util.concurrent.TimeUnit;

public class Processes {
    public static void main(String[] arguments) throws Exception {
        Process upper = new ProcessBuilder("tr", "a-z", "A-Z").start();
        try (OutputStream input = upper.getOutputStream()) { input.write("abc".getBytes()); }
        String text = new String(upper.getInputStream().readAllBytes());
        if (upper.waitFor() != 0 || !text.equals("ABC")) throw new AssertionError(text);
        ProcessBuilder shell = new ProcessBuilder("sh", "-c", "echo $WORD >&2; exit 3").redirectErrorStream(true);
        shell.environment().put("WORD", "told");
        shell.redirectOutput(new File("output"));
        if (shell.start().waitFor() != 3) throw new AssertionError();
        if (!java.nio.file.Files.readString(java.nio.file.Path.of("output")).equals("told\n")) throw new AssertionError();
        Process sleeper = Runtime.getRuntime().exec(new String[] {"sleep", "60"});
        if (sleeper.waitFor(20, TimeUnit.MILLISECONDS)) throw new AssertionError();
        sleeper.destroyForcibly();
        if (sleeper.waitFor() != 137) throw new AssertionError();
        System.out.println("works");
    }
}
