import java.lang.reflect.Method;
import java.util.*;
import java.util.concurrent.*;

public class VirtualThreads {
    public static void main(String[] arguments) throws Exception {
        Method make;
        try {
            make = Executors.class.getMethod("newVirtualThreadPerTaskExecutor");
        } catch (NoSuchMethodException error) {
            System.out.println("skipped: this JDK is older than 21");
            return;
        }
        ExecutorService pool = (ExecutorService) make.invoke(null);
        List<Future<Integer>> futures = new ArrayList<>();
        for (int n = 0; n < 1000; n++) {
            int number = n;
            futures.add(pool.submit(() -> { Thread.sleep(1); return number; }));
        }
        int sum = 0;
        for (Future<Integer> future : futures) sum += future.get();
        pool.shutdown();
        if (sum != 499500) throw new AssertionError(sum);
        System.out.println("works");
    }
}
