import multiprocessing


def produce(queue):
    for number in range(5):
        queue.put(number)
    queue.put(None)


if __name__ == "__main__":
    queue, lock = multiprocessing.Queue(), multiprocessing.Lock()
    child = multiprocessing.Process(target=produce, args=(queue,))
    child.start()
    with lock:
        assert list(iter(queue.get, None)) == [0, 1, 2, 3, 4]
    child.join()
    print("works")
