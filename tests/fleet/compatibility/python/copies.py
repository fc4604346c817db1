import os
import pathlib
import shutil

pathlib.Path("tree/deep").mkdir(parents=True)
pathlib.Path("tree/deep/file").write_text("text")
shutil.copy("tree/deep/file", "copy")
shutil.copy2("tree/deep/file", "tree/second")
shutil.copytree("tree", "other")
shutil.move("other/deep", "moved")
shutil.copyfileobj(open("copy", "rb"), open("streamed", "wb"))
assert pathlib.Path("moved/file").read_text() == pathlib.Path("copy").read_text() == "text"
assert sorted(os.listdir("other")) == ["second"]
archive = shutil.make_archive("archive", "zip", "tree")
shutil.unpack_archive(archive, "unpacked")
assert pathlib.Path("unpacked/deep/file").read_text() == "text"
shutil.rmtree("tree")
assert not os.path.exists("tree") and shutil.disk_usage(".").total > 0
print("works")
