package flotilla;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Touches what nearly every program uses, so that it is loaded and linked. It starts no threads and
 * prints nothing, and nothing that programs can count is counted up.
 */
final class Samples implements Runnable {
    private final int level;

    Samples(int level) {
        this.level = level;
    }

    @Override
    public void run() {
        try {
            Entry.of(Samples.class, new Entry.Shape(true, true)).start(new String[0]);
            if (level >= 1) collections();
            if (level >= 2) streams();
        } catch (Throwable ignored) {
            // Whatever it is, the program will meet it itself.
        }
    }

    /** What a hello does. */
    public static void main(String[] arguments) {
        PrintStream out = new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8);
        out.println("hello");
        out.println(arguments.length);
    }

    private static void collections() {
        List<Integer> list = new ArrayList<>(List.of(3, 1, 2));
        list.sort((a, b) -> b - a);
        Map<String, Integer> map = new HashMap<>();
        for (int it : list) {
            map.merge("n" + it, it, Integer::sum);
        }
        map.forEach((key, value) -> new StringBuilder().append(key).append(value));
        new ArrayDeque<>(list).poll();
        new PriorityQueue<>(list).poll();
        new TreeMap<>(map).firstKey();
        Arrays.sort(new int[] {3, 1, 2});
        Arrays.toString(list.toArray());
        "a b".split(" ");
        Integer.parseInt("17");
    }

    private static void streams() {
        PrintStream out = new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8);
        out.printf("%d %5.2f %s%n", 1, 2.5, "three");
        out.print(String.format("%08x %-5s|", 255, "a"));
        out.print(IntStream.range(0, 5).boxed()
                .filter(it -> it % 2 == 0)
                .map(String::valueOf)
                .collect(Collectors.joining(", ")));
        Map<String, Long> counts = List.of("b", "a", "b").stream()
                .sorted()
                .collect(Collectors.groupingBy(it -> it, TreeMap::new, Collectors.counting()));
        out.print(counts);
        out.print(IntStream.of(1, 2, 3).sum() + 0.5);
    }
}
