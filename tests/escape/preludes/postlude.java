
class Attempt {
    static void at(String what, java.util.concurrent.Callable<?> action) {
        try { System.out.println("ESCAPED " + what + " " + action.call()); }
        catch (Throwable error) { System.out.println("held " + what + " " + error); }
    }
}
