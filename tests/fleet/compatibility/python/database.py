import os
import sqlite3

for place in (":memory:", "data.db"):
    database = sqlite3.connect(place)
    if place != ":memory:":
        database.execute("pragma journal_mode = wal")
    with database:
        database.execute("create table numbers (n integer primary key, square integer)")
        database.executemany("insert into numbers values (?, ?)", [(n, n * n) for n in range(1000)])
    try:
        with database:
            database.execute("delete from numbers")
            raise KeyError
    except KeyError:
        pass
    assert database.execute("select sum(square) from numbers").fetchone() == (332833500,)
    database.close()
assert os.path.getsize("data.db") > 0
print("works")
