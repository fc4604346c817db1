// Tries to get out, harmlessly. Whoever started it looks from outside at what came of it.
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

public class Hostile {
    static final String LINGER =
            "trap '' HUP TERM; n=0; while [ \"$n\" -lt 20 ]; do sleep 1; n=$((n + 1)); done";

    interface Attempt {
        void make() throws Exception;
    }

    static String word;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("memory")) {
            memory(Integer.parseInt(args[1]));
        } else {
            word = args[1];
            reach();
        }
    }

    static void reach() {
        String secretFile = fact("SECRET_FILE");
        String server = "/proc/" + fact("SERVER_PID") + "/";
        String descriptor = fact("SERVER_DESCRIPTOR");
        int port = Integer.parseInt(fact("LISTENER_PORT"));
        attempt("files", () -> read(secretFile));
        attempt("process_secrets", () -> {
            for (String name : Arrays.asList("environ", "fd/" + descriptor)) {
                try {
                    read(server + name);
                } catch (IOException refused) {
                    continue;
                }
            }
        });
        attempt("network", () -> {
            try (Socket connection = new Socket()) {
                connection.connect(new InetSocketAddress("127.0.0.1", port), 2000);
                connection.getOutputStream().write(word.getBytes(StandardCharsets.UTF_8));
            }
        });
        attempt("signals", () -> start("sh", "-c", "kill -URG \"$1\"", "sh", fact("SERVER_PID")).waitFor());
        attempt("clean_up", () -> {
            try {
                start("setsid", "sh", "-c", LINGER, "sh", word);
            } catch (IOException noSetsid) {
                start("sh", "-c", LINGER, "sh", word);
            }
        });
    }

    static void memory(int megabytes) throws InterruptedException {
        System.out.println("tried memory");
        List<byte[]> blocks = new ArrayList<>();
        while (blocks.size() < megabytes) {
            byte[] block = new byte[1 << 20];
            Arrays.fill(block, (byte) 1);
            blocks.add(block);
        }
        Thread.sleep(2000);
        System.out.println("kept " + blocks.size());
    }

    static void attempt(String name, Attempt attempt) {
        try {
            attempt.make();
        } catch (Exception refused) {
            System.err.println(name + ": refused");
        }
        System.out.println("tried " + name);
    }

    static void read(String path) throws IOException {
        try (InputStream file = Files.newInputStream(Paths.get(path))) {
            System.out.println(new String(file.readAllBytes(), StandardCharsets.ISO_8859_1));
        }
    }

    static Process start(String... words) throws IOException {
        return new ProcessBuilder(words)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    static String fact(String name) {
        return Objects.requireNonNull(System.getenv(name), name);
    }
}
