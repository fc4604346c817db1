"""Programs whose ends tell whether a fork of this interpreter can pass for a new one."""

import os
import shutil
import subprocess
import sys
import tempfile

PROGRAMS = [
    # What a program sees of where it is.
    """
import gc, inspect, os, random, sys, threading, traceback
def depth(level):
    try:
        return depth(level + 1)
    except RecursionError:
        return level
print(depth(0), sys.getrecursionlimit(), len(inspect.stack()), sys._getframe().f_back)
print(list(globals()), __name__, __file__, __doc__, __spec__, __loader__.get_filename())
print(sys.argv, getattr(sys, "orig_argv", None), sys.path, sys.executable, sys.flags)
print(sorted(os.environ.items()), sys.exc_info(), sys.excepthook is sys.__excepthook__)
print([it for it in ("last_type", "last_exc", "last_value") if hasattr(sys, it)], gc.isenabled())
main = threading.main_thread()
print(main is threading.current_thread(), main.native_id == threading.get_native_id(), os.getpid() == main.native_id)
print(threading.active_count(), sys.modules["__main__"].__dict__ is globals(), sys.stdin.read())
print([it.fileno() for it in (sys.stdin, sys.stdout, sys.stderr)], sys.stdout.line_buffering, sys.stdout.encoding)
with open(__file__) as file:
    print(file.fileno())
traceback.print_stack()
sys.exit(300)
""",
    # The order of what happens after the main module.
    """
import atexit, sys, threading, time, typing
class Loud:
    def __init__(self, name): self.name = name
    def __del__(self): print("end of", self.name, sys is not None, "Loud" in globals())
first, _second = Loud("first"), Loud("second")
cycle = Loud("cycle"); cycle.itself = cycle; del cycle
remembered = typing.Optional[Loud]
def later():
    try:
        yield 1
    finally:
        print("end of generator")
suspended = later(); next(suspended)
atexit.register(lambda: print("exit function", "__file__" in globals()))
def work():
    while "over" not in globals(): time.sleep(0.001)
    time.sleep(0.02)
    print("end of thread")
threading.Thread(target=work).start()
file = open("written", "w"); file.write("unflushed")
print("end of main")
over = True
""",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint(1)",
    "def f(x):\n    try:\n        return 1 / x\n    except ZeroDivisionError as e:\n        raise ValueError('no') from e\nf(0)\n",
    "import sys\nprint('out')\nsys.exit(('any', 'object'))\n",
    "import sys\nclass Odd(SystemExit): code = True\nraise Odd(7)\n",
    "print('before')\nraise KeyboardInterrupt\n",
    "def f(:\n    pass\n",
    "import sys, os\nos.close(1)\nprint('lost')\n",
    "import signal, os, time\nprint(signal.getsignal(signal.SIGPIPE), signal.getsignal(signal.SIGINT))\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n",
]

INPUT = b"one\ntwo\n"
WORDS = [sys.executable, "main.py", "a", "b c"]
SECONDS = 30


class Check:
    """What the library asks for: the next program, its words, and how it ended in a child."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="check-")
        self.index = -1
        self.faults = 0

    def next(self):
        self.index += 1
        if self.index >= len(PROGRAMS):
            shutil.rmtree(self.folder, ignore_errors=True)
            return False
        with open(os.path.join(self.folder, "main.py"), "w") as file:
            file.write(PROGRAMS[self.index])
        self.pipes = [os.pipe() for _ in range(3)]
        return True

    def sit(self):
        """In the child: its streams and folder are in place from here on."""
        (stdin, _), (_, stdout), (_, stderr) = self.pipes
        for own, descriptor in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(own, descriptor)
        os.closerange(3, 256)
        os.chdir(self.folder)
        variables = (f"{name}={value}\0" for name, value in os.environ.items())
        return "".join(it + "\0" for it in WORDS), "".join(variables)

    def mark(self, child):
        """In the parent: compares the child's end with that of a program that was started cold."""
        (stdin, to_child), (from_child, stdout), (errors, stderr) = self.pipes
        for theirs in (stdin, stdout, stderr):
            os.close(theirs)
        os.write(to_child, INPUT)
        os.close(to_child)
        warm = [self.read(from_child), self.read(errors)]
        status = os.waitpid(child, 0)[1]
        warm.append(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        warm.append(self.written())
        it = subprocess.run(WORDS, cwd=self.folder, input=INPUT, capture_output=True, timeout=SECONDS)
        cold = [it.stdout, it.stderr, it.returncode, self.written()]
        for what, is_warm, is_cold in zip(("output", "errors", "exit code", "file"), warm, cold):
            if is_warm != is_cold:
                self.faults += 1
                print(
                    f"zygote: program {self.index}: {what}: {is_warm!r} differs from {is_cold!r}",
                    file=sys.stderr,
                )

    def read(self, descriptor):
        with open(descriptor, "rb") as file:
            return file.read()

    def written(self):
        path = os.path.join(self.folder, "written")
        if not os.path.exists(path):
            return None
        with open(path) as file:
            text = file.read()
        os.unlink(path)
        return text
