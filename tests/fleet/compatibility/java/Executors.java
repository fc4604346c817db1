import java.util.List;
import java.util.concurrent.*;
import java.util.stream.*;

public class Executors {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = java.util.concurrent.Executors.newFixedThreadPool(4);
        List<Future<Integer>> futures =
            IntStream.range(0, 20).mapToObj(n -> pool.submit(() -> n * n)).collect(Collectors.toList());
        int sum = 0;
        for (Future<Integer> future : futures) sum += future.get();
        pool.shutdown();
        if (!pool.awaitTermination(5, TimeUnit.SECONDS) || sum != 2470) throw new AssertionError(sum);
        ScheduledExecutorService later = java.util.concurrent.Executors.newScheduledThreadPool(1);
        if (!later.schedule(() -> "late", 5, TimeUnit.MILLISECONDS).get().equals("late")) throw new AssertionError();
        later.shutdownNow();
        int chained = CompletableFuture.supplyAsync(() -> 6).thenCombine(CompletableFuture.supplyAsync(() -> 7), (a, b) -> a * b).get();
        long even = IntStream.range(0, 100_000).parallel().filter(n -> n % 2 == 0).count();
        if (chained != 42 || even != 50_000) throw new AssertionError();
        System.out.println("works");
    }
}
