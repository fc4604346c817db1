//! Java.

use crate::attack::{Attack, Ends, attack};
use crate::promise::{CLEAN_UP, FILES, MEMORY_TOTAL, NETWORK, PROCESS_SECRETS, SIGNALS};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "Java is held",
    against: &[],
    scenarios: &[],
    attacks: &[
        java(
            "read and write files outside in Java",
            "Landlock (files)",
            r#"
import java.nio.channels.*;
import java.nio.file.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        for (String path : new String[] {"@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/shadow", "/proc/@SERVER@/environ"}) {
            Attempt.at("read " + path, () -> Files.readString(Path.of(path)));
            Attempt.at("copy " + path, () -> Files.copy(Path.of(path), Path.of("copy")));
            Attempt.at("map " + path, () -> FileChannel.open(Path.of(path)).map(FileChannel.MapMode.READ_ONLY, 0, 4));
            Attempt.at("load " + path, () -> { System.load(path); return ""; });
            Attempt.at("link " + path, () -> Files.readString(Files.createSymbolicLink(Path.of("link" + path.hashCode()), Path.of(path))));
        }
        for (String path : new String[] {"@OPEN@", "@DROP@/x", "@STATE@/cache/x", "@PREPARED@/x"}) {
            Attempt.at("write " + path, () -> Files.writeString(Path.of(path), "x"));
            Attempt.at("directory " + path, () -> Files.createDirectory(Path.of(path + "d")));
        }
        System.out.println("done");
    }
}
"#,
        )
        .against(&[FILES]),
        java(
            "connect and listen in Java",
            "Seccomp (socket)",
            r#"
import java.net.*;
import java.nio.channels.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        Attempt.at("tcp", () -> new Socket("127.0.0.1", @TCP@));
        Attempt.at("channel", () -> SocketChannel.open(new InetSocketAddress("127.0.0.1", @TCP@)));
        Attempt.at("listen", () -> new ServerSocket(0));
        Attempt.at("udp", () -> { new DatagramSocket().send(new DatagramPacket(new byte[1], 1, InetAddress.getByName("127.0.0.1"), @UDP@)); return ""; });
        Attempt.at("unix", () -> SocketChannel.open(UnixDomainSocketAddress.of("@STREAM@")));
        Attempt.at("http", () -> new URL("http://127.0.0.1:@PORT@/health").openStream().read());
        Attempt.at("multicast", () -> new MulticastSocket(0));
        System.out.println("done");
    }
}
"#,
        )
        .against(&[NETWORK]),
        java(
            "signal others in Java",
            "Landlock (signal scope), Identity",
            r#"
public class Main {
    public static void main(String[] arguments) throws Exception {
        for (long pid : new long[] {@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@})
            for (String signal : new String[] {"-0", "-TERM", "-STOP", "-KILL"}) {
                Process tool = new ProcessBuilder("kill", signal, Long.toString(pid)).start();
                if (tool.waitFor() == 0) System.out.println("ESCAPED kill " + signal + " " + pid);
            }
        for (long pid : new long[] {@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@})
            for (boolean hard : new boolean[] {false, true})
                ProcessHandle.of(pid).ifPresent(it -> System.out.println(hard ? it.destroyForcibly() : it.destroy()));
        System.out.println("done");
    }
}
"#,
        )
        .against(&[SIGNALS]),
        java(
            "find the server's secrets in Java",
            "the spawner (empty environment)",
            r#"
public class Main {
    public static void main(String[] arguments) throws Exception {
        System.getenv().forEach((name, value) -> { if ((name + value).matches("(?s).*(EXECUTOR|TOKEN|VICTIM|escape-).*")) System.out.println("ESCAPED " + name); });
        System.getProperties().forEach((name, value) -> { if (value.toString().contains("escape-")) System.out.println("ESCAPED " + name); });
        try {
            ProcessHandle.allProcesses().forEach(it -> it.info().commandLine().ifPresent(line -> { if (line.matches("(?s).*(EXECUTOR_|escape-).*")) System.out.println("ESCAPED " + line); }));
        } catch (RuntimeException error) { System.out.println("held " + error); }
        System.out.println("done");
    }
}
"#,
        )
        .against(&[PROCESS_SECRETS, FILES]),
        java(
            "stay on in Java",
            "the reaper",
            r#"
public class Main {
    public static void main(String[] arguments) throws Exception {
        new ProcessBuilder("setsid", "sleep", "1000").redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        new ProcessBuilder("setsid", "sleep", "1000").inheritIO().start();
        new ProcessBuilder("sh", "-c", "trap '' TERM HUP INT; (sleep 1000 &) ; sleep 1000 &").inheritIO().start();
        Thread stayer = new Thread(() -> { while (true) Thread.onSpinWait(); });
        stayer.setDaemon(true);
        stayer.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("done")));
    }
}
"#,
        )
        .against(&[CLEAN_UP]),
        java(
            "take memory outside the heap of Java",
            "the reaper (memory of the tree), Data",
            r"
import java.nio.ByteBuffer;
import java.util.*;

public class Main {
    public static void main(String[] arguments) {
        List<ByteBuffer> held = new ArrayList<>();
        for (;;) { ByteBuffer it = ByteBuffer.allocateDirect(8 << 20); for (int at = 0; at < it.capacity(); at += 4096) it.put(at, (byte) 1); held.add(it); }
    }
}
",
        )
        .ends(Ends::As(&["memory_limit", "runtime_error"]))
        .against(&[MEMORY_TOTAL]),
        java(
            "end with another code from within a hook, in Java",
            "the executor (status comes from the kernel)",
            r#"
public class Main {
    public static void main(String[] arguments) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(92)));
        System.out.println("done");
        System.exit(0);
    }
}
"#,
        )
        .ends(Ends::Checked("runtime_error", |answer| answer["exitCode"] == 92)),
    ],
};

const fn java(name: &'static str, stopped_by: &'static str, code: &'static str) -> Attack {
    attack(name, stopped_by, code).in_language("java")
}
