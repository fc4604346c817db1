package flotilla;

import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;

/** One compile, which shares nothing with others but the JDK's own classes. */
final class Compilation {
    private static final JavaCompiler JAVAC = ToolProvider.getSystemJavaCompiler();

    /** No other option is passed on: none of these names a file or has code loaded. */
    private static final Pattern OPTIONS = Pattern.compile(
            "-Xlint(:[a-z,-]+)?"
                    + "|-Xdiags:(compact|verbose)"
                    + "|-g(:(none|(lines|vars|source)(,(lines|vars|source))*))?"
                    + "|-nowarn|-deprecation|-parameters|-Werror"
                    + "|--release=[0-9]{1,2}"
                    + "|-XDshould-stop\\.ifNoError=FLOW");

    /** How every refusal ends that is not a fault of javac's. */
    private static final Pattern COUNT =
            Pattern.compile("(?m)^[0-9]+ errors?\\n([0-9]+ warnings?\\n)?(only showing the first [^\\n]*\\n)*\\z");

    private Compilation() {}

    static Compiler.Answer of(Compiler.Request request) {
        List<String> options = new ArrayList<>(List.of("-proc:none"));
        for (String option : request.options) {
            if (!OPTIONS.matcher(option).matches()) {
                return Compiler.Answer.gaveUp();
            }
            options.add(option);
        }
        List<Sources.Source> sources = new ArrayList<>();
        for (Map.Entry<String, byte[]> file : request.sources.entrySet()) {
            String text = text(file.getValue());
            if (text == null || !file.getKey().endsWith(".java")) {
                return Compiler.Answer.gaveUp();
            }
            sources.add(new Sources.Source(file.getKey(), text));
        }
        if (sources.isEmpty()) {
            return Compiler.Answer.gaveUp();
        }
        StringWriter output = new StringWriter();
        try (Sources files = new Sources(sources)) {
            boolean isCompiled =
                    JAVAC.getTask(output, files, null, options, null, sources).call();
            String told = output.toString();
            if (!isCompiled && !COUNT.matcher(told).find()) {
                return Compiler.Answer.gaveUp();
            }
            return Compiler.Answer.of(isCompiled, told, files.classes());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Null if it is not UTF-8: what javac says then is about bytes. */
    private static String text(byte[] bytes) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException notText) {
            return null;
        }
    }
}
