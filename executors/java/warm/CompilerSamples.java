package flotilla;

import java.nio.charset.StandardCharsets;
import java.util.List;

/** What the compiler is warmed up with: what people write, and mistakes that they make. */
final class CompilerSamples {
    private static final List<String> PROGRAMS = List.of(
            String.join("\n",
                    "public class Main {",
                    "    public static void main(String[] args) {",
                    "        System.out.println(\"hello, world\");",
                    "    }",
                    "}"),
            String.join("\n",
                    "import java.util.*;",
                    "import java.util.function.*;",
                    "import java.util.stream.*;",
                    "public class Main {",
                    "    interface Shape { double area(); }",
                    "    enum Color { RED, GREEN { @Override boolean isCold() { return true; } };",
                    "        boolean isCold() { return false; } }",
                    "    static abstract class Base implements Shape, Comparable<Base> {",
                    "        @Override public int compareTo(Base it) { return Double.compare(area(), it.area()); }",
                    "    }",
                    "    static final class Circle extends Base {",
                    "        private final double radius;",
                    "        Circle(double radius) { this.radius = radius; }",
                    "        @Override public double area() { return Math.PI * radius * radius; }",
                    "    }",
                    "    static <T extends Comparable<? super T>> Optional<T> best(Collection<T> all) {",
                    "        return all.stream().max(Comparator.naturalOrder());",
                    "    }",
                    "    public static void main(String[] args) throws Exception {",
                    "        Map<String, List<Integer>> map = new TreeMap<>();",
                    "        for (int i = 0; i < 10; i++) {",
                    "            map.computeIfAbsent(\"k\" + i % 3, it -> new ArrayList<>()).add(i);",
                    "        }",
                    "        String text = map.entrySet().stream()",
                    "                .sorted(Map.Entry.comparingByKey())",
                    "                .map(it -> it.getKey() + \"=\" + it.getValue())",
                    "                .collect(Collectors.joining(\", \"));",
                    "        System.out.printf(\"%s %.2f%n\", text, best(List.of(new Circle(1))).get().area());",
                    "        try (Scanner in = new Scanner(System.in)) {",
                    "            while (in.hasNextInt()) { long n = in.nextInt(); n += n << 2; System.out.println(n); }",
                    "        } catch (RuntimeException error) {",
                    "            throw new Exception(error);",
                    "        }",
                    "        switch (Color.valueOf(\"RED\")) { case RED: break; default: return; }",
                    "        int[][] grid = {{1, 2}, {3, 4}};",
                    "        Supplier<int[]> row = () -> grid[0];",
                    "        BiFunction<Integer, Integer, Integer> add = Integer::sum;",
                    "        do { grid[0][0]--; } while (grid[0][0] > 0 && row.get().length > add.apply(0, 1));",
                    "    }",
                    "}"),
            String.join("\n",
                    "import java.util.*;",
                    "public class Main {",
                    "    record Point(int x, int y) { Point { if (x < 0) throw new IllegalArgumentException(); } }",
                    "    sealed interface Tree permits Leaf, Node {}",
                    "    record Leaf(int value) implements Tree {}",
                    "    record Node(Tree left, Tree right) implements Tree {}",
                    "    static int sum(Tree tree) {",
                    "        if (tree instanceof Leaf leaf) return leaf.value();",
                    "        var node = (Node) tree;",
                    "        return sum(node.left()) + sum(node.right());",
                    "    }",
                    "    public static void main(String[] args) {",
                    "        var day = switch (args.length) { case 0 -> \"none\"; case 1, 2 -> \"few\"; default -> \"many\"; };",
                    "        List raw = new ArrayList(); raw.add(day);",
                    "        System.out.println(new Point(1, 2) + \" \" + sum(new Node(new Leaf(1), new Leaf(2))) + raw);",
                    "    }",
                    "}"),
            String.join("\n",
                    "import java.util.List;",
                    "public class Main {",
                    "    static int size(List<String> list) { return list.size() }",
                    "}"),
            String.join("\n",
                    "public class Main {",
                    "    public static void main(String[] args) {",
                    "        int n = \"text\";",
                    "        missing(n);",
                    "        String s = null; s.length(1);",
                    "    }",
                    "}"));

    private CompilerSamples() {}

    /** Compiles the sample of this number; there are as many as one likes. */
    static void compile(int number) {
        String program = PROGRAMS.get(number % PROGRAMS.size());
        Compiler.Request request = new Compiler.Request();
        request.sources.put("Main.java", program.getBytes(StandardCharsets.UTF_8));
        Compilation.of(request);
    }
}
