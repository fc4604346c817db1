package flotilla;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A compiler that stays: it answers requests on standard output that it reads from standard input,
 * until that ends. Numbers are 32 bits, the highest first; texts are their length and UTF-8.
 *
 * <p>A request is the number of options and each of them, then the number of sources, and of each
 * its path and its content. An answer is one byte (0 refused, 1 compiled, 2 gave up: another
 * compiler shall decide), what javac prints, then the number of classes, and of each its path and
 * its bytes. The byte {@code r} comes before the first answer, as soon as there may be requests.
 */
final class Compiler {
    private static final int REQUEST_BYTES_MAX = 64 << 20;
    private static final int ANSWER_BYTES_MAX = 256 << 20;
    private static final int STACK_BYTES = 8 << 20;

    private final FileInputStream input = new FileInputStream(FileDescriptor.in);
    private final DataInputStream in = new DataInputStream(new BufferedInputStream(input, 65536));
    private final DataOutputStream out = new DataOutputStream(
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 65536));

    private Compiler() {}

    /** {@code --warm N} compiles up to N samples whenever there is nothing else to do. */
    public static void main(String[] arguments) throws Exception {
        // Nothing but answers may get into their stream.
        System.setOut(new PrintStream(OutputStream.nullOutputStream()));
        int samples = arguments.length == 2 && arguments[0].equals("--warm")
                ? Integer.parseInt(arguments[1])
                : 0;
        new Compiler().serve(samples);
    }

    private void serve(int samples) throws Exception {
        out.writeByte('r');
        out.flush();
        for (int sample = 0; sample < samples && in.available() == 0; sample++) {
            long started = System.nanoTime();
            CompilerSamples.compile(sample);
            // Half of the time is for programs that run beside us.
            idle(System.nanoTime() - started);
        }
        for (;;) {
            Request request = read();
            if (request == null) {
                return;
            }
            Answer answer = onDeepStack(request);
            write(answer);
            if (answer.isExhausted) {
                // What is left of the heap is nothing to rely on.
                return;
            }
        }
    }

    /** Waits, or less long if there is something to do. */
    private void idle(long nanos) throws IOException, InterruptedException {
        long end = System.nanoTime() + nanos;
        while (in.available() == 0 && System.nanoTime() < end) {
            Thread.sleep(1);
        }
    }

    /** What is to be compiled, and how. */
    static final class Request {
        final List<String> options = new ArrayList<>();
        final Map<String, byte[]> sources = new LinkedHashMap<>();
    }

    /** What came of it. */
    static final class Answer {
        static final int REFUSED = 0;
        static final int COMPILED = 1;
        static final int GAVE_UP = 2;

        final int verdict;
        final String output;
        final Map<String, byte[]> classes;
        final boolean isExhausted;

        private Answer(int verdict, String output, Map<String, byte[]> classes, boolean isExhausted) {
            this.verdict = verdict;
            this.output = output;
            this.classes = classes;
            this.isExhausted = isExhausted;
        }

        static Answer of(boolean isCompiled, String output, Map<String, byte[]> classes) {
            return isCompiled
                    ? new Answer(COMPILED, output, classes, false)
                    : new Answer(REFUSED, output, Map.of(), false);
        }

        static Answer gaveUp() {
            return new Answer(GAVE_UP, "", Map.of(), false);
        }

        static Answer exhausted() {
            return new Answer(GAVE_UP, "", Map.of(), true);
        }

        /** Its length on the wire. */
        private long size() {
            long size = 9L + output.length() * 3L;
            for (Map.Entry<String, byte[]> it : classes.entrySet()) {
                size += 8L + it.getKey().length() * 3L + it.getValue().length;
            }
            return size;
        }
    }

    /** Compiles where expressions of many terms, which javac walks by recursion, have room. */
    private static Answer onDeepStack(Request request) throws InterruptedException {
        Answer[] answer = {Answer.exhausted()};
        Thread thread = new Thread(null, () -> answer[0] = compile(request), "compile", STACK_BYTES);
        thread.setUncaughtExceptionHandler((it, error) -> {});
        thread.start();
        thread.join();
        return answer[0];
    }

    private static Answer compile(Request request) {
        try {
            return Compilation.of(request);
        } catch (StackOverflowError | RuntimeException | AssertionError ownFault) {
            return Answer.gaveUp();
        }
    }

    /** The next request; null at the end of input. */
    private Request read() throws IOException {
        int left = REQUEST_BYTES_MAX;
        Request request = new Request();
        int options;
        try {
            options = in.readInt();
        } catch (EOFException end) {
            return null;
        }
        for (; options > 0; options--) {
            byte[] option = bytes(left);
            left -= option.length + 4;
            request.options.add(new String(option, StandardCharsets.UTF_8));
        }
        for (int sources = in.readInt(); sources > 0; sources--) {
            byte[] path = bytes(left);
            left -= path.length + 4;
            byte[] content = bytes(left);
            left -= content.length + 4;
            request.sources.put(new String(path, StandardCharsets.UTF_8), content);
        }
        return request;
    }

    private byte[] bytes(int most) throws IOException {
        int length = in.readInt();
        if (length < 0 || length > most) {
            throw new IOException("a request may have " + REQUEST_BYTES_MAX + " bytes at most");
        }
        byte[] bytes = new byte[length];
        in.readFully(bytes);
        return bytes;
    }

    private void write(Answer answer) throws IOException {
        Answer told = answer.size() > ANSWER_BYTES_MAX ? Answer.gaveUp() : answer;
        out.writeByte(told.verdict);
        write(told.output.getBytes(StandardCharsets.UTF_8));
        out.writeInt(told.classes.size());
        for (Map.Entry<String, byte[]> it : told.classes.entrySet()) {
            write(it.getKey().getBytes(StandardCharsets.UTF_8));
            write(it.getValue());
        }
        out.flush();
    }

    private void write(byte[] bytes) throws IOException {
        out.writeInt(bytes.length);
        out.write(bytes);
    }
}
