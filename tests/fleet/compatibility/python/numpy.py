try:
    import numpy
except ModuleNotFoundError:
    print("skipped: numpy is not on this host")
    raise SystemExit
assert numpy.linalg.det(numpy.eye(50)) == 1 and numpy.random.default_rng(1).random(3).shape == (3,)
assert (numpy.ones((100, 100)) @ numpy.ones((100, 100))).sum() == 1e6
print("works")
