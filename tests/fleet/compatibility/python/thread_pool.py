from concurrent.futures import ThreadPoolExecutor, as_completed

with ThreadPoolExecutor(4) as pool:
    assert sum(it.result() for it in as_completed([pool.submit(pow, n, 2) for n in range(50)])) == 40425
print("works")
