import queue
import threading

lock, event, total = threading.Lock(), threading.Event(), 0
numbers = queue.Queue()


def add():
    global total
    event.wait()
    while (number := numbers.get()) is not None:
        with lock:
            total += number


threads = [threading.Thread(target=add) for _ in range(8)]
for thread in threads:
    thread.start()
for number in [*range(1000), *[None] * 8]:
    numbers.put(number)
event.set()
for thread in threads:
    thread.join()
assert total == 499500
print("works")
