"""What makes a forked interpreter look as if it had been started for its program."""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
import time
import types
import typing
import weakref
import _thread
from importlib.machinery import SourceFileLoader, all_suffixes
from importlib.util import MAGIC_NUMBER

# Variables that an interpreter and common libraries read once, when they start.
READ_AT_START = (
    "BLIS_", "GCONV_PATH", "GLIBC_", "GOTO_", "LANG", "LC_", "LD_", "LOCPATH", "MALLOC_", "MKL_",
    "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "OPENSSL_", "PYTHON",
)

# As far from the end of an archive as its directory may be found.
ARCHIVE_END = 65557

# Writes to what every program writes to. More of what programs do gained less than it cost: those
# that do not do it pay for it, too.
TOUCH = compile('import io\nprint("a", 1, f"{2.5:.1f}", file=io.StringIO())\n', "<touch>", "exec")


class Life:
    """Called by the library, which has no frame of Python below: once before it forks, and then
    in every child before, at and after its program."""

    def __init__(self, zygote, here, fresh, cached, names):
        self.zygote = zygote
        self.here = here
        self.fresh = fresh
        self.cached = cached
        self.names = names
        self.suffixes = frozenset(all_suffixes())
        self.libraries = tuple(it for it in sys.path[1:] if it)
        # Held here, as a program may put something else in their places.
        self.run_exit_functions = atexit._run_exitfuncs
        self.count_threads = _thread._count
        self.tracer, self.set_tracer = sys.gettrace, sys.settrace
        self.profiler, self.set_profiler = sys.getprofile, sys.setprofile
        self.count_exit_functions = atexit._ncallbacks
        self.watched = []
        self.has_finalisers = False
        self.last = []
        # What is registered first is called last, and before it the collector is.
        atexit.register(self.call_last)
        atexit.register(gc.collect)

    def call_last(self):
        for function in self.last:
            function()

    def settle(self):
        """In the zygote, once: nothing of how it came here is left to be seen, and the collector
        leaves alone what all children share, for looking at it would copy it."""
        sys.excepthook = sys.__excepthook__
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            if hasattr(sys, name):
                delattr(sys, name)
        for name in ("life", "check"):
            sys.modules.pop(name, None)
        for path in sys.path_importer_cache.keys() - self.cached:
            del sys.path_importer_cache[path]
        self.zone = os.environ.get("TZ")
        self.variables = self.read_at_start(os.environ)
        self.exit_functions = self.count_exit_functions()
        self.zygote.clear()
        self.modules = dict(sys.modules)
        del self.modules["__main__"]
        gc.collect()
        gc.freeze()

    def ready(self):
        """In a child, before its program is known: what is its own, and what it will write to."""
        main_thread = threading.main_thread()
        if hasattr(main_thread, "_set_native_id"):
            main_thread._set_native_id()
        numbers = sys.modules.get("numpy.random")
        if numbers is not None:  # What the standard module does by itself after a fork.
            numbers.seed()
        main = types.ModuleType("__main__")
        names = main.__dict__
        names.update(self.fresh)
        if "__annotations__" in names:
            names["__annotations__"] = {}
        sys.modules["__main__"] = main
        self.rehearse()

    def rehearse(self):
        """Does once what is done when the program is known: the memory that this writes to is
        a child's own afterwards, and not copied while a program waits."""
        argv = [sys.executable, f"{self.here}/life.py"]
        path, directory = self.places(argv[1])
        env = dict(os.environ)
        try:
            self.needs_cold_start(path, directory, env)
        except OSError:  # It may not be readable from here any more.
            pass
        self.become(argv, env, path, directory)
        del sys.path_importer_cache[path]
        exec(TOUCH, {"__name__": "touch"})

    def begin(self, argv, env):
        """Makes this process what it would be at the first line of its program: the words of the
        command (interpreter, script, arguments) and the variables, each ended by a NUL. Returns
        the script's path and the names of its module; starts cold where only that will do."""
        argv = argv.split("\0")[:-1]
        env = dict(it.partition("=")[::2] for it in env.split("\0")[:-1])
        path, directory = self.places(argv[1])
        if self.needs_cold_start(path, directory, env):
            self.start_cold(argv, env)
        return self.become(argv, env, path, directory)

    def become(self, argv, env, path, directory):
        if sys.version_info < (3, 9):
            path = argv[1]
        self.set_environment(env)
        sys.argv = argv[1:]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv = argv
        sys.path[0] = directory
        sys.path_importer_cache[path] = None
        is_whole = isinstance(logging._startTime, int)
        logging._startTime = time.time_ns() if is_whole else time.time()
        names = sys.modules["__main__"].__dict__
        names["__file__"] = path
        names["__loader__"] = SourceFileLoader("__main__", path)
        return os.fsencode(path), names

    def places(self, script):
        """The absolute path of the script, and the folder that its imports are looked for in."""
        directory = os.getcwd()
        if "/" not in script:
            return f"{directory}/{script}", directory
        path = script if script.startswith("/") else f"{directory}/{script}"
        return path, os.path.dirname(os.path.realpath(path))

    def set_environment(self, env):
        os.environ.clear()
        os.environ.update(env)
        if env.get("TZ") != self.zone:
            time.tzset()

    def read_at_start(self, env):
        return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}

    def needs_cold_start(self, path, directory, env):
        """Whether only an interpreter that starts now can run this as it would."""
        if self.read_at_start(env) != self.variables:
            return True
        for name in os.listdir(directory):
            stem, _, suffix = name.partition(".")
            if stem in self.names and (not suffix or f".{suffix}" in self.suffixes):
                return True
        with open(path, "rb") as file:
            source = file.read()
        self.has_finalisers = b"__del__" in source
        # Bytecode and archives are programs, too.
        return source.startswith(MAGIC_NUMBER[:2]) or b"PK\5\6" in source[-ARCHIVE_END:]

    def start_cold(self, argv, env):
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        os.execve(sys.executable, argv, env)

    def has_more(self):
        """Whether there are exit functions or finalisers, which the interpreter calls in its own
        way: they may be told that it ends."""
        return self.has_finalisers or self.count_exit_functions() > self.exit_functions

    def leavers(self):
        """Names of the program's own modules, in the order in which they shall end; none if the
        interpreter's own way matters, because one of them has finalisers."""
        names = []
        for name in reversed(sys.modules):  # What was imported first is old, and not looked at.
            module = sys.modules[name]
            if self.modules.get(name) is module and module is not None:
                break
            if self.is_own(name, module):
                names.append(name)
        names.append("__main__")
        names.reverse()
        for name in names:
            module = sys.modules.get(name)
            if type(module) is types.ModuleType:
                if any(self.is_finaliser(it) for it in list(module.__dict__.values())):
                    return None
                self.watched.append(weakref.ref(module))
                self.watched.extend(map(weakref.ref, self.anchors(name, module)))
        return names

    def is_own(self, name, module):
        """Whether a module is the program's, not one of a library that it imported."""
        if name in self.modules or name == "__main__" or type(module) is not types.ModuleType:
            return False
        path = getattr(module, "__file__", None)
        if not isinstance(path, str):
            return name not in sys.builtin_module_names
        return not path.startswith(self.libraries)

    def anchors(self, name, module):
        """One of what lives exactly as long as the names of a module do."""
        values = list(module.__dict__.values())
        for value in values:
            if type(value) is types.FunctionType and value.__globals__ is module.__dict__:
                return [value]
        return [it for it in values if type(it) is type and it.__module__ == name][:1]

    def is_finaliser(self, value):
        return isinstance(value, type) and "__del__" in value.__dict__

    def remain(self):
        """Whether something that outlives the program holds one of its modules."""
        return any(it() is not None for it in self.watched)

    def let_go(self):
        """Before the interpreter's own finaliser, which then finds all that is shared, and nothing
        held from here. Finalisers are called in the collector's order, so where there are any, it
        sorts what is the program's before: after all exit functions, for which it is registered."""
        if self.has_finalisers and self.count_exit_functions() > 0:
            self.last.append(self.thaw)
        else:
            atexit.unregister(self.call_last)
            self.thaw()

    def thaw(self):
        self.forget()
        gc.unfreeze()
        self.__dict__.clear()
        globals().clear()

    def forget(self):
        """Empties what modules that are shared remember of the program's types."""
        for clear in getattr(typing, "_cleanups", ()):
            clear()
