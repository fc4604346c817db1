import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.tools.ToolProvider;

/**
 * Compiles the classes beside this one, once for each JDK, and fits them to the JVM that will run
 * them. Started from its source with two arguments: the directory of the sources, and the one to
 * write to.
 *
 * <p>What hides a frame is an annotation that a compiler does not give to code outside the JDK, and
 * that has another name before Java 16; the JVM takes it from what stands on its boot class path.
 */
final class Prepare {
    private static final String OURS = "Lflotilla/Hidden;";

    private Prepare() {}

    public static void main(String[] arguments) throws IOException {
        int version = Runtime.version().feature();
        Path out = Path.of(arguments[1]);
        compile(Path.of(arguments[0]), out, version);
        seal(out.resolve("flotilla"), version >= 16
                ? "Ljdk/internal/vm/annotation/Hidden;"
                : "Ljava/lang/invoke/LambdaForm$Hidden;");
        // From 23 on the JVM complains about what `Trusted` does unless told not to.
        String flags = version >= 23 ? "--sun-misc-unsafe-memory-access=allow" : "";
        Files.write(out.resolve("flags"), List.of(flags));
    }

    private static void compile(Path sources, Path out, int version) throws IOException {
        List<String> words = new ArrayList<>(List.of(
                "-nowarn", "-proc:none", "-encoding", "UTF-8", "-d", out.toString(),
                "--add-exports", "jdk.compiler/com.sun.tools.javac.api=ALL-UNNAMED",
                "--add-exports", "jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED",
                "--add-exports", "jdk.compiler/com.sun.tools.javac.util=ALL-UNNAMED"));
        try (DirectoryStream<Path> files = Files.newDirectoryStream(sources, "*.java")) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                // The latter needs a method that is new in 15, and is not asked for before.
                if (!name.equals("Prepare.java") && (version >= 15 || !name.equals("HiddenBridge.java"))) {
                    words.add(file.toString());
                }
            }
        }
        int code = ToolProvider.getSystemJavaCompiler()
                .run(null, null, null, words.toArray(new String[0]));
        if (code != 0) {
            throw new IllegalStateException("the warm classes do not compile");
        }
    }

    private static void seal(Path classes, String theirs) throws IOException {
        int sealed = 0;
        try (DirectoryStream<Path> files = Files.newDirectoryStream(classes, "*.class")) {
            for (Path file : files) {
                byte[] before = Files.readAllBytes(file);
                byte[] after = replace(before, constant(OURS), constant(theirs));
                if (after.length != before.length) {
                    Files.write(file, after);
                    sealed++;
                }
            }
        }
        if (sealed == 0) {
            throw new IllegalStateException("no class names " + OURS);
        }
    }

    /** A text as it stands in a class file. */
    private static String constant(String text) {
        ByteArrayOutputStream constant = new ByteArrayOutputStream();
        constant.write(1);
        constant.write(text.length() >> 8);
        constant.write(text.length());
        constant.writeBytes(text.getBytes(StandardCharsets.US_ASCII));
        return constant.toString(StandardCharsets.ISO_8859_1);
    }

    private static byte[] replace(byte[] in, String from, String to) {
        String text = new String(in, StandardCharsets.ISO_8859_1);
        return text.replace(from, to).getBytes(StandardCharsets.ISO_8859_1);
    }
}
