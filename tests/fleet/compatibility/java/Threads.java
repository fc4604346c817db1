import java.util.concurrent.atomic.AtomicInteger;

public class Threads {
    static int guarded;

    public static void main(String[] arguments) throws Exception {
        AtomicInteger free = new AtomicInteger();
        Object lock = new Object();
        Thread[] threads = new Thread[16];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(() -> {
                for (int n = 0; n < 1000; n++) {
                    free.incrementAndGet();
                    synchronized (lock) { guarded++; }
                }
            });
            threads[i].start();
        }
        for (Thread thread : threads) thread.join();
        if (free.get() != 16000 || guarded != 16000) throw new AssertionError(free + " " + guarded);
        System.out.println("works");
    }
}
