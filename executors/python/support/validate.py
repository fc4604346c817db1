"""Compiles the files it is given without running them, and prints one line a complaint:
`file:line:column: severity: kind: message`."""

import sys
import warnings


def tell(path, line, column, severity, kind, message):
    message = " ".join(str(message).split())
    print(f"{path}:{line or 0}:{column or 0}: {severity}: {kind}: {message}")


def check(path):
    with open(path, "rb") as file:
        source = file.read()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            compile(source, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            column = max(error.offset or 0, 0)
            tell(path, error.lineno, column, "error", type(error).__name__, error.msg)
        except ValueError as error:  # NUL bytes, before 3.12
            line = source[: source.find(b"\0") + 1].count(b"\n") + 1 if b"\0" in source else 0
            tell(path, line, 0, "error", "SyntaxError", error)
        except (RecursionError, MemoryError, OverflowError) as error:
            message = str(error) or "nested too deeply, or too large"
            tell(path, 0, 0, "error", type(error).__name__, message)
    for warning in caught:
        tell(path, warning.lineno, 0, "warning", warning.category.__name__, warning.message)


sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
for argument in sys.argv[1:]:
    check(argument)
