import java.util.*;
import java.util.function.*;

public class Hot {
    interface Shape { double area(); }
    record Square(double side) implements Shape { public double area() { return side * side; } }
    record Circle(double radius) implements Shape { public double area() { return 3 * radius * radius; } }

    static int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

    public static void main(String[] arguments) {
        Shape[] shapes = new Shape[1000];
        for (int i = 0; i < shapes.length; i++) shapes[i] = i % 2 == 0 ? new Square(i) : new Circle(i);
        double total = 0;
        for (int round = 0; round < 2000; round++) for (Shape shape : shapes) total += shape.area();
        boolean[] composite = new boolean[200_000];
        int primes = 0;
        for (int n = 2; n < composite.length; n++) {
            if (composite[n]) continue;
            primes++;
            for (long m = (long) n * n; m < composite.length; m += n) composite[(int) m] = true;
        }
        Map<Integer, Integer> counts = new HashMap<>();
        for (int n = 0; n < 500_000; n++) counts.merge(n % 1000, 1, Integer::sum);
        if (fibonacci(30) != 832040 || primes != 17984 || counts.get(7) != 500 || total <= 0) throw new AssertionError();
        System.out.println("works");
    }
}
