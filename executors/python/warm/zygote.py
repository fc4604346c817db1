"""Imports what programs often import, and stands ready to become them, one a process.

usage: zygote.py LIBRARY [--with=NAME]... [--list | --check]

LIBRARY (`libwarm_python.so`) forks, and runs programs without a frame of this file below them.
--with also imports packages, and fails if none of them is there. --list prints the names that a
program's own file or folder must not have, one a line, for it would not be imported then. --check
runs programs both ways, and fails unless their ends are the same.
"""

FRESH = dict(globals())  # What a main module has before its first statement, in this version.
FRESH["__doc__"] = None

import sys

STARTED_WITH = frozenset(sys.modules)

# Where this file stands: no program shall see that.
HERE = sys.path[0]

# Folders that were looked into already, but for the one of this file.
CACHED = frozenset(it for it in sys.path_importer_cache if it not in (HERE, __file__, sys.argv[0]))

# Every process pays for what it does not use when it is forked and when it ends: what is large and
# seldom used has a profile of its own.
PRELOADED = (
    "__future__ _strptime abc argparse array ast base64 bisect calendar cmath collections "
    "collections.abc concurrent.futures.thread contextlib copy csv dataclasses datetime "
    "decimal enum fractions functools gc glob graphlib hashlib heapq importlib inspect io itertools "
    "json locale logging math numbers operator os pathlib pickle platform pprint queue random re "
    "secrets select shutil signal statistics string struct subprocess tempfile textwrap threading "
    "time timeit traceback types typing unicodedata urllib.parse uuid warnings weakref zlib"
).split()


class NotReady(Exception):
    """This interpreter, on this machine, shall start cold."""


def preload(names):
    """Imports those modules that exist; returns their names."""
    import importlib

    found = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:  # Younger or older than this interpreter, or packed apart from it.
            continue
        found.append(name)
    return found


def shadowable():
    """First parts of the names of modules that a program has not imported, and finds imported."""
    names = {it.partition(".")[0] for it in sys.modules.keys() - STARTED_WITH}
    return frozenset(names.difference(sys.builtin_module_names, ["__main__", "life", "check"]))


def refuse_unless_forkable():
    """A fork has one thread, and the streams that it inherits must be what a run's are: pipes."""
    import os
    import stat

    if getattr(sys, "_is_gil_enabled", None) is not None and not sys._is_gil_enabled():
        raise NotReady("an interpreter without its lock cannot be forked")
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:  # It cannot be told without /proc, and what is imported starts none by default.
        threads = 1
    if threads > 1:
        raise NotReady(f"the imports started {threads - 1} threads, which a fork would lose")
    for descriptor in (0, 1, 2):
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise NotReady(f"descriptor {descriptor} must be a pipe, as that of a run is")


def arguments():
    words = sys.argv[1:]
    packages, mode = [], "--serve"
    if not words or words[0].startswith("--"):
        raise NotReady(__doc__)
    library = words.pop(0)
    while words:
        word = words.pop(0)
        if word.startswith("--with="):
            packages.append(word.partition("=")[2])
        elif word in ("--list", "--check"):
            mode = word
        else:
            raise NotReady(f"unknown argument `{word}`\n{__doc__}")
    return library, packages, mode


def main():
    library, packages, mode = arguments()
    preload(PRELOADED)
    if packages and not preload(packages):
        raise NotReady(f"none of {', '.join(packages)} is installed")
    import ctypes

    if mode == "--list":
        print("\n".join(sorted(shadowable())))
        raise SystemExit
    refuse_unless_forkable()
    sys.path.insert(0, HERE)
    from life import Life

    life = Life(globals(), HERE, FRESH, CACHED, shadowable())
    if mode == "--check":
        from check import Check

        life.check = Check()
    del sys.path[0]
    native = ctypes.PyDLL(library)
    hook = native.check if mode == "--check" else native.serve
    hook.argtypes = [ctypes.py_object] * 3
    hook.restype = None
    return life, hook


# An uncaught exception is the one way out of here that leaves no frame below: the interpreter
# calls this hook from its own C code, when all of this file is done.
try:
    LIFE, sys.excepthook = main()
except NotReady as refusal:
    print(f"zygote: {refusal}", file=sys.stderr)
    raise SystemExit(1) from None
ENDED = NotReady()
ENDED.life = LIFE
raise ENDED
