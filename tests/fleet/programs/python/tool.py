"""What a program can do to its executor, by the first argument."""

import ctypes
import os
import signal
import subprocess
import sys
import time

verb, *rest = sys.argv[1:]
out = sys.stdout.buffer

if verb == "count":
    print(len(sys.stdin.buffer.read()))
elif verb == "echo":
    out.write(sys.stdin.buffer.read())
elif verb == "nothing":
    print("ok")
elif verb == "exit":
    sys.exit(int(rest[0]))
elif verb == "signal":
    number = int(rest[0])
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    time.sleep(60)
elif verb == "spin":
    while True:
        pass
elif verb == "sleep":
    print("asleep", flush=True)
    time.sleep(float(rest[0]))
    print("awake")
elif verb == "hog":
    held = []
    for _ in range(2048):
        held.append(bytearray(b"x" * (1 << 20)))
    print("survived")
elif verb == "giant":
    held = bytearray(3 << 30)
    print("survived", len(held))
elif verb == "print":
    line = b"x" * 1023 + b"\n"
    for _ in range(int(rest[0]) // 1024):
        out.write(line)
elif verb == "bytes":
    out.write(bytes.fromhex("fffe004100c328f09f98800a"))
elif verb == "env":
    for name in rest:
        print(os.environ.get(name, "(unset)"))
elif verb == "args":
    for argument in rest:
        print(f"[{argument}]")
elif verb == "write":
    os.mkdir("out")
    with open("out/a.txt", "w", encoding="utf-8") as file:
        file.write("größe\n")
    with open("out/b.bin", "wb") as file:
        file.write(b"\xff\x00\x01")
    os.symlink("/etc/passwd", "out/link.txt")
    try:
        os.link("/etc/passwd", "out/hard.txt")
    except OSError:
        pass
    subprocess.run(["mkfifo", "out/fifo.txt"], check=True)
    print("written")
elif verb == "hold":
    subprocess.run(["sh", "-c", "setsid sleep 300 & (sleep 300 &)"], check=True)
    print("done")
elif verb == "flush":
    print("first", flush=True)
    time.sleep(2)
    print("second", flush=True)
    print("problem", file=sys.stderr)
