try:
    import pandas
except ModuleNotFoundError:
    print("skipped: pandas is not on this host")
    raise SystemExit
table = pandas.DataFrame({"kind": ["a", "b", "a"], "size": [1, 2, 3]})
assert table.groupby("kind")["size"].sum().to_dict() == {"a": 4, "b": 2}
table.to_csv("table.csv")
assert len(pandas.read_csv("table.csv")) == 3
print("works")
