package flotilla;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A JVM that is made ready before its program is known. It warms up, says so on descriptor 3, waits
 * there for one program, and becomes it: from then on all is as after {@code java Main arguments}.
 *
 * <p>The program's {@code main} runs on the thread that it always runs on, right below this one,
 * whose frame is hidden; so the way that a JVM ends is its own in any case. This stands on the boot
 * class path, since the class path is the program's, and the JVM hides frames of nobody else.
 */
public final class Warm {
    private static final int CHANNEL = 3;
    private static final int MESSAGE_BYTES_MAX = 32 << 20;

    private Warm() {}

    /** Takes how much to warm up: 0 a line of output, 1 collections too, 2 streams and formats too. */
    @Hidden
    public static void main(String[] level) throws Throwable {
        String[] fields = elsewhere(Integer.parseInt(level[0]));
        Entry entry = Launcher.find(fields[1]);
        String[] arguments = Arrays.copyOfRange(fields, 2, 1 + Integer.parseInt(fields[0]));
        try {
            entry.start(arguments);
        } catch (Throwable error) {
            throw withoutUs(error);
        }
    }

    /**
     * Warms up and waits on a thread of its own, and gives its number back, so that the program's
     * thread has as little of a past as can be.
     */
    private static String[] elsewhere(int level) throws Throwable {
        Object[] result = new Object[1];
        // The JDK's own next thread comes first, as ever.
        Class.forName("jdk.internal.ref.CleanerFactory");
        Thread thread = new Thread(null, new Runnable() {
            @Override
            public void run() {
                try {
                    new Samples(level).run();
                    result[0] = receive();
                } catch (Throwable error) {
                    result[0] = error;
                }
            }
        }, "warm-up");
        thread.start();
        thread.join();
        Trusted.forget(thread);
        if (result[0] instanceof Throwable) {
            throw (Throwable) result[0];
        }
        return (String[]) result[0];
    }

    /** Where memory is exhausted, the JVM writes traces with the frames that it hides elsewhere. */
    private static Throwable withoutUs(Throwable error) {
        StackTraceElement[] trace = error.getStackTrace();
        int end = trace.length;
        while (end > 0 && isOurs(trace[end - 1])) {
            end--;
        }
        if (end < trace.length) {
            error.setStackTrace(Arrays.copyOf(trace, end));
        }
        return error;
    }

    private static boolean isOurs(StackTraceElement frame) {
        return frame.getClassName().contains("$$Bridge/") || frame.getClassName().startsWith("flotilla.");
    }

    private static String[] receive() throws Throwable {
        String[] fields;
        try (FileInputStream in = new FileInputStream(Trusted.descriptor(CHANNEL));
                FileOutputStream out = new FileOutputStream(in.getFD())) {
            out.write('r');
            fields = fields(read(in));
        }
        if (fields == null) {
            Runtime.getRuntime().halt(0);
        }
        int words = Integer.parseInt(fields[0]);
        Map<String, String> variables = new LinkedHashMap<>();
        for (int it = words + 2; it < fields.length; it++) {
            String[] variable = fields[it].split("=", 2);
            variables.put(variable[0], variable[1]);
        }
        if (!variables.isEmpty()) {
            Trusted.addToEnvironment(variables);
        }
        System.setProperty("sun.java.command",
                String.join(" ", Arrays.copyOfRange(fields, 1, words + 1)));
        return fields;
    }

    /** All there is to read; no more than a little above the bound. */
    private static byte[] read(FileInputStream in) throws IOException {
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        byte[] chunk = new byte[65536];
        for (int count; (count = in.read(chunk)) > 0 && message.size() <= MESSAGE_BYTES_MAX; ) {
            message.write(chunk, 0, count);
        }
        return message.toByteArray();
    }

    /**
     * Takes a message apart: a number and as many words, a number and as many variables, each closed
     * by a NUL. Null if it is not whole: whoever would have sent it is gone.
     */
    private static String[] fields(byte[] message) {
        if (message.length == 0 || message.length > MESSAGE_BYTES_MAX || message[message.length - 1] != 0) {
            return null;
        }
        String text = new String(message, 0, message.length - 1, StandardCharsets.UTF_8);
        String[] fields = text.split("\0", -1);
        try {
            int words = Integer.parseInt(fields[0]);
            if (words < 1 || words >= fields.length - 1) {
                return null;
            }
            int variables = Integer.parseInt(fields[words + 1]);
            return fields.length == words + variables + 2 ? fields : null;
        } catch (NumberFormatException broken) {
            return null;
        }
    }
}
