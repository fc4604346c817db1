package flotilla;

import java.lang.invoke.MethodHandles.Lookup;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;

/** Finds a program's main class and {@code main} as {@code java} does. */
final class Launcher {
    private Launcher() {}

    /** The entry of the class of this name. Without one the JVM ends, in the launcher's own words. */
    static Entry find(String name) throws Throwable {
        Class<?> main = ordinary(name);
        if (main != null) {
            return Entry.of(main, new Entry.Shape(true, true));
        }
        // All else is for the JDK to judge, and the cost of asking it is for those that need it.
        Class<?> helper = Class.forName("sun.launcher.LauncherHelper");
        Lookup lookup = Trusted.in(helper);
        final int byClass = 1;
        main = (Class<?>) lookup.findStatic(helper, "checkAndLoadMain",
                MethodType.methodType(Class.class, boolean.class, int.class, String.class))
                .invoke(true, byClass, name);
        boolean isStatic = true;
        boolean takesArguments = true;
        if (Runtime.version().feature() >= 21) {
            isStatic = (boolean) lookup.findStaticGetter(helper, "isStaticMain", boolean.class).invoke();
            takesArguments = !(boolean) lookup.findStaticGetter(helper, "noArgMain", boolean.class).invoke();
        }
        return Entry.of(main, new Entry.Shape(isStatic, takesArguments));
    }

    /** The class, if it declares {@code public static void main(String[])}. */
    private static Class<?> ordinary(String name) {
        try {
            Class<?> type = Class.forName(name, false, ClassLoader.getSystemClassLoader());
            Method main = type.getMethod("main", String[].class);
            boolean isOrdinary = main.getDeclaringClass() == type
                    && Modifier.isStatic(main.getModifiers())
                    && main.getReturnType() == void.class;
            return isOrdinary ? type : null;
        } catch (ReflectiveOperationException | LinkageError notOrdinary) {
            return null;
        }
    }
}
