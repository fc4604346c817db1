package flotilla;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles.Lookup;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;

/** Calls a program's {@code main}, from a class whose frames no stack trace shows. */
public interface Entry {
    /** Calls it; what it throws comes through. */
    void start(String[] arguments) throws Throwable;

    /** Defines a class that nothing finds by its name. */
    interface Definer {
        /** The class of these bytes, beside the lookup's own. */
        Class<?> define(Lookup beside, byte[] bytes) throws IllegalAccessException;
    }

    /** How {@code main} is declared. */
    final class Shape {
        final boolean isStatic;
        final boolean takesArguments;

        Shape(boolean isStatic, boolean takesArguments) {
            this.isStatic = isStatic;
            this.takesArguments = takesArguments;
        }
    }

    /** The entry of {@code type}. */
    static Entry of(Class<?> type, Shape shape) throws Throwable {
        Method main = main(type, shape);
        if (shape.isStatic && (main == null || main.getDeclaringClass() != type)) {
            // The call alone would initialise the class that declares `main` and no other.
            Class.forName(type.getName(), true, type.getClassLoader());
        }
        if (Runtime.version().feature() < 15 || main == null || !isWithinReach(type, main)) {
            return new ByHandle(type, shape);
        }
        Definer definer = (Definer) Trusted.make(Class.forName("flotilla.HiddenBridge"));
        return (Entry) Trusted.make(definer.define(Trusted.in(type), bytes(type, shape)));
    }

    /** The {@code main} of {@code type}, its own or inherited. */
    private static Method main(Class<?> type, Shape shape) {
        Class<?>[] parameters = shape.takesArguments ? new Class<?>[] {String[].class} : new Class<?>[0];
        for (Class<?> it = type; it != null; it = it.getSuperclass()) {
            for (Method method : it.getDeclaredMethods()) {
                if (method.getName().equals("main") && method.getReturnType() == void.class
                        && Arrays.equals(method.getParameterTypes(), parameters)) {
                    return method;
                }
            }
        }
        return null;
    }

    /** Whether a class beside {@code type} may call {@code main}. */
    private static boolean isWithinReach(Class<?> type, Method main) {
        Class<?> owner = main.getDeclaringClass();
        return Modifier.isPublic(owner.getModifiers() & main.getModifiers())
                || (owner.getClassLoader() == type.getClassLoader()
                && owner.getPackageName().equals(type.getPackageName()));
    }

    /**
     * The class {@code final class Bridge implements Entry} beside {@code type}, whose {@code start}
     * calls {@code main} and does nothing else.
     */
    private static byte[] bytes(Class<?> type, Shape shape) throws IOException {
        String name = type.getName().replace('.', '/');
        String descriptor = shape.takesArguments ? "([Ljava/lang/String;)V" : "()V";
        boolean isInterface = type.isInterface();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(0xCAFEBABE);
        out.writeInt(55);
        Pool pool = new Pool();
        int self = pool.type(name + "$$Bridge");
        int object = pool.type("java/lang/Object");
        int entry = pool.type("flotilla/Entry");
        int main = pool.type(name);
        int construct = pool.method(main, "<init>", "()V", false);
        int call = pool.method(main, "main", descriptor, isInterface);
        int code = pool.text("Code");
        int[] start = {pool.text("start"), pool.text("([Ljava/lang/String;)V")};
        pool.writeTo(out);
        final int finalSuper = 0x0030;
        for (int it : new int[] {finalSuper, self, object, 1, entry, 0, 1}) {
            out.writeShort(it);
        }
        method(out, start, code, body(shape, main, construct, call));
        out.writeShort(0);
        return bytes.toByteArray();
    }

    /** The instructions of {@code start}. */
    private static byte[] body(Shape shape, int type, int construct, int call) {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        if (!shape.isStatic) {
            // new, dup, invokespecial
            body.writeBytes(new byte[] {(byte) 0xBB, high(type), low(type), 0x59, (byte) 0xB7, high(construct), low(construct)});
        }
        if (shape.takesArguments) {
            body.write(0x2B);
        }
        int invoke = shape.isStatic ? 0xB8 : 0xB6;
        body.writeBytes(new byte[] {(byte) invoke, high(call), low(call), (byte) 0xB1});
        return body.toByteArray();
    }

    private static void method(DataOutputStream out, int[] name, int code, byte[] body) throws IOException {
        out.writeShort(Modifier.PUBLIC);
        out.writeShort(name[0]);
        out.writeShort(name[1]);
        out.writeShort(1);
        out.writeShort(code);
        out.writeInt(12 + body.length);
        out.writeShort(2);
        out.writeShort(2);
        out.writeInt(body.length);
        out.write(body);
        out.writeInt(0);
    }

    private static byte high(int value) {
        return (byte) (value >> 8);
    }

    private static byte low(int value) {
        return (byte) value;
    }

    /** The constants of a class file. */
    final class Pool {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private final DataOutputStream out = new DataOutputStream(bytes);
        private int count;

        int text(String text) throws IOException {
            out.writeByte(1);
            out.writeUTF(text);
            return ++count;
        }

        int type(String name) throws IOException {
            return refer(7, text(name));
        }

        int method(int type, String name, String descriptor, boolean isInterface) throws IOException {
            int pair = refer(12, text(name), text(descriptor));
            return refer(isInterface ? 11 : 10, type, pair);
        }

        private int refer(int kind, int... indices) throws IOException {
            out.writeByte(kind);
            for (int index : indices) {
                out.writeShort(index);
            }
            return ++count;
        }

        void writeTo(DataOutputStream file) throws IOException {
            file.writeShort(count + 1);
            bytes.writeTo(file);
        }
    }

    /** Where no hidden class can do it: the frames of method handles are hidden as well. */
    final class ByHandle implements Entry {
        private final MethodHandle main;
        private final MethodHandle construct;
        private final Shape shape;

        ByHandle(Class<?> type, Shape shape) throws ReflectiveOperationException {
            this.shape = shape;
            MethodType arguments = shape.takesArguments
                    ? MethodType.methodType(void.class, String[].class)
                    : MethodType.methodType(void.class);
            Lookup lookup = Trusted.in(type);
            main = shape.isStatic
                    ? lookup.findStatic(type, "main", arguments)
                    : lookup.findVirtual(type, "main", arguments);
            construct = shape.isStatic
                    ? null
                    : lookup.findConstructor(type, MethodType.methodType(void.class));
        }

        @Hidden
        @Override
        public void start(String[] arguments) throws Throwable {
            if (shape.isStatic && shape.takesArguments) {
                main.invoke(arguments);
            } else if (shape.isStatic) {
                main.invoke();
            } else if (shape.takesArguments) {
                main.invoke(construct.invoke(), arguments);
            } else {
                main.invoke(construct.invoke());
            }
        }
    }
}
