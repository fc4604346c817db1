package flotilla;

import java.io.FileDescriptor;
import java.lang.invoke.MethodHandles.Lookup;
import java.lang.reflect.Field;
import java.util.Map;
import sun.misc.Unsafe;

/**
 * What the JDK keeps to itself and a launcher needs. No option opens its packages: that would cost
 * every start a fifth more, and programs would find them open too. Method handles would cost as
 * much, so fields are read and written where they lie.
 */
final class Trusted {
    private static final Unsafe UNSAFE = unsafe();

    private Trusted() {}

    /** What may do anything beside {@code type}. */
    static Lookup in(Class<?> type) throws ReflectiveOperationException {
        return ((Lookup) value(Lookup.class.getDeclaredField("IMPL_LOOKUP"))).in(type);
    }

    /** An object without a call of its constructor. */
    static Object make(Class<?> type) throws InstantiationException {
        return UNSAFE.allocateInstance(type);
    }

    /** An open descriptor by its number. */
    static FileDescriptor descriptor(int number) throws ReflectiveOperationException {
        FileDescriptor descriptor = new FileDescriptor();
        Field field = FileDescriptor.class.getDeclaredField("fd");
        UNSAFE.putInt(descriptor, UNSAFE.objectFieldOffset(field), number);
        return descriptor;
    }

    /** Adds variables to the environment that programs see and hand on. */
    static void addToEnvironment(Map<String, String> variables) throws ReflectiveOperationException {
        // What programs get refuses to be written to, and holds one that does not.
        Map<String, String> guarded = System.getenv();
        Field field = guarded.getClass().getDeclaredField("m");
        @SuppressWarnings("unchecked")
        Map<String, String> environment =
                (Map<String, String>) UNSAFE.getObject(guarded, UNSAFE.objectFieldOffset(field));
        environment.putAll(variables);
    }

    /** Gives back the number of a thread that has ended, if it was the last one. */
    static void forget(Thread thread) throws ReflectiveOperationException {
        long id = thread.getId();
        if (Runtime.version().feature() < 19) {
            Field last = Thread.class.getDeclaredField("threadSeqNumber");
            Object base = UNSAFE.staticFieldBase(last);
            long offset = UNSAFE.staticFieldOffset(last);
            UNSAFE.compareAndSwapLong(base, offset, id, id - 1);
            return;
        }
        Class<?> counter = Class.forName("java.lang.Thread$ThreadIdentifiers");
        Field field = counter.getDeclaredField("NEXT_TID_OFFSET");
        long next = UNSAFE.getLong(UNSAFE.staticFieldBase(field), UNSAFE.staticFieldOffset(field));
        UNSAFE.compareAndSwapLong(null, next, id + 1, id);
    }

    private static Object value(Field field) {
        return UNSAFE.getObject(UNSAFE.staticFieldBase(field), UNSAFE.staticFieldOffset(field));
    }

    private static Unsafe unsafe() {
        try {
            Field own = Unsafe.class.getDeclaredField("theUnsafe");
            own.setAccessible(true);
            return (Unsafe) own.get(null);
        } catch (ReflectiveOperationException error) {
            throw new ExceptionInInitializerError(error);
        }
    }
}
