import multiprocessing
from multiprocessing import shared_memory


def fill(name):
    block = shared_memory.SharedMemory(name=name)
    block.buf[:5] = b"hello"
    block.close()


if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=4096)
    child = multiprocessing.get_context("fork").Process(target=fill, args=(block.name,))
    child.start()
    child.join()
    assert bytes(block.buf[:5]) == b"hello"
    block.close()
    block.unlink()
    print("works")
