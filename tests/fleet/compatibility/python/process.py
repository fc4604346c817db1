import multiprocessing


def square(connection, number):
    connection.send(number * number)


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    children = [context.Process(target=square, args=(there, n)) for n in range(3)]
    for child in children:
        child.start()
    assert sorted(here.recv() for _ in children) == [0, 1, 4]
    for child in children:
        child.join()
        assert child.exitcode == 0
    print("works")
