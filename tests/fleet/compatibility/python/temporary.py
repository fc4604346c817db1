import os
import tempfile

with tempfile.TemporaryFile("w+") as file:
    file.write("x")
    file.seek(0)
    assert file.read() == "x"
with tempfile.NamedTemporaryFile(delete=False) as file:
    file.write(b"y")
assert open(file.name, "rb").read() == b"y"
os.unlink(file.name)
with tempfile.TemporaryDirectory() as directory:
    open(os.path.join(directory, "z"), "w").close()
assert not os.path.exists(directory)
descriptor, path = tempfile.mkstemp(suffix=".txt")
os.close(descriptor)
with tempfile.SpooledTemporaryFile(max_size=4) as file:
    file.write(b"rolls over")
assert os.path.dirname(path) == os.environ["TMPDIR"] == tempfile.gettempdir()
print("works")
