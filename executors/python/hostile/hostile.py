"""Tries to get out, harmlessly. Whoever started it looks from outside at what came of it."""

import os
import signal
import socket
import sys
import time


def read(path):
    with open(path, errors="replace") as file:
        print(file.read())


def files():
    read(secret_file)


def process_secrets():
    for name in ("environ", f"fd/{server_descriptor}"):
        try:
            read(f"/proc/{server_pid}/{name}")
        except OSError:
            pass


def network():
    with socket.create_connection(("127.0.0.1", listener_port), timeout=2) as connection:
        connection.sendall(word.encode())


def signals():
    os.kill(server_pid, signal.SIGURG)


def clean_up():
    if os.fork() == 0:
        os.setsid()
        for stream in range(3):
            os.close(stream)
        time.sleep(20)
        os._exit(0)


def reach():
    for attempt in (files, process_secrets, network, signals, clean_up):
        try:
            attempt()
        except OSError:
            pass
        print("tried", attempt.__name__, flush=True)


def memory(megabytes):
    print("tried memory", flush=True)
    blocks = [bytearray(b"1" * (1 << 20)) for _ in range(megabytes)]
    time.sleep(2)
    print("kept", len(blocks))


if sys.argv[1] == "memory":
    memory(int(sys.argv[2]))
else:
    word = sys.argv[2]
    secret_file = os.environ["SECRET_FILE"]
    server_pid = int(os.environ["SERVER_PID"])
    server_descriptor = os.environ["SERVER_DESCRIPTOR"]
    listener_port = int(os.environ["LISTENER_PORT"])
    reach()
