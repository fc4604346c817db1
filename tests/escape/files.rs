//! Nothing that a program can make of its own files troubles us: not their deletion, and not
//! the handing back of results.

use serde_json::Value;

use crate::attack::{Ends, attack};
use crate::promise::{DISK, FILES};
use crate::table::Table;

pub(crate) static TANGLES: Table = Table {
    promise: "no file of a run stays or troubles us",
    against: &[DISK],
    scenarios: &[],
    attacks: &[
        attack(
            "a tree 3,000 levels deep",
            "the work directory (deleted by descriptor)",
            r#"
for place in (os.environ["HOME"], os.environ["TMPDIR"]):
    os.chdir(place)
    for level in range(3000):
        os.mkdir("d")
        os.chdir("d")
    open("leaf", "w").close()
print("done")
"#,
        ),
        attack(
            "directories that nobody may enter",
            "the work directory (deleted by descriptor)",
            r#"
os.makedirs("a/b/c/d")
open("a/b/c/d/file", "w").close()
for path in ("a/b/c/d/file", "a/b/c/d", "a/b/c", "a/b", "a", os.environ["TMPDIR"], os.environ["HOME"]):
    os.chmod(path, 0)
print("done")
"#,
        ),
        attack(
            "names that are no text, too long, or look like something else",
            "the work directory (deleted by descriptor)",
            r#"
for name in (b"\xff\xfe", b"line\nbreak", b"x" * 255, b"-rf", b"...", b" ", b"\x1b[31m", b"*", b"a;b", b"$HOME", b"\x01"):
    os.mkdir(b"d" + name[:254])
    open(name, "w").close()
    open(b"d" + name[:254] + b"/" + name, "w").close()
print("done")
"#,
        ),
        attack(
            "thousands of files",
            "the work directory (deleted by descriptor)",
            r#"
for directory in range(10):
    os.mkdir(str(directory))
    for index in range(1000): os.close(os.open(f"{directory}/{index}", os.O_CREAT | os.O_WRONLY))
for index in range(6000): os.close(os.open(f"file{index}", os.O_CREAT | os.O_WRONLY))
print("done")
"#,
        ),
        attack(
            "links, pipes, sockets and loops among its files",
            "the work directory (deleted by descriptor)",
            r#"
os.mkdir("d")
for path in (PRIVATE, OPEN, DROP, VICTIM_DIR, STATE, "/", "/etc", "..", ".", "loop"):
    os.symlink(path, "link" + str(abs(hash(path))))
    os.symlink(path, "d/link" + str(abs(hash(path))))
os.symlink("loop", "loop")
os.symlink("d", "d/d")
os.mkfifo("fifo")
os.mknod("socket", stat.S_IFSOCK | 0o600)
open("one", "w").close()
os.link("one", "other")
attempt("a device", lambda: os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
attempt("a block device", lambda: os.mknod("disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)))
attempt("unchangeable", lambda: fcntl.ioctl(os.open("one", os.O_RDONLY), 0x40086602, struct.pack("l", 0x10)))
attempt("only to append to", lambda: fcntl.ioctl(os.open("d", os.O_RDONLY), 0x40086602, struct.pack("l", 0x20)))
print("done")
"#,
        ),
        attack(
            "many files kept open and deleted",
            "the reaper (nothing keeps them open afterwards)",
            r#"
for index in range(10):
    file = open("gone", "wb")
    file.write(bytes(1 << 20))
    file.flush()
    os.unlink("gone")
    os.dup(file.fileno())
print("done")
"#,
        ),
        attack(
            "fill every place that it may write to",
            "FileSize; the work directory is deleted",
            r#"
block = os.urandom(1 << 20)
for place in (os.environ["HOME"], os.environ["TMPDIR"], "/tmp", "/var/tmp", "/dev/shm"):
    try:
        for index in range(3):
            with open(f"{place}/flotilla-escape{index}", "wb", buffering=0) as file:
                for _ in range(40): file.write(block)
    except OSError as error: print("full", place, error.errno)
print("done")
"#,
        )
        .with(r#"{"memoryLimit": 512}"#)
        .against(&[DISK, FILES])
        .ends(Ends::As(&["success", "memory_limit", "runtime_error"])),
        attack(
            "directories that are moved and mounted over while they are deleted",
            "the work directory (deleted by descriptor, after everybody is dead)",
            r#"
for index in range(50):
    os.makedirs(f"a{index}/b/c")
    os.symlink("/", f"a{index}/b/c/root")
def churn():
    while True:
        for index in range(50):
            for one, other in ((f"a{index}/b", f"b{index}"), (f"b{index}", f"a{index}/b")):
                try: os.rename(one, other)
                except OSError: pass
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        churn()
time.sleep(0.3)
print("done", flush=True)
"#,
        ),
    ],
};

pub(crate) static RESULTS: Table = Table {
    promise: "results are files of the run",
    against: &[],
    scenarios: &[],
    attacks: &[
    attack(
        "links to elsewhere as results",
        "the executor (results are plain files with one name)",
        r#"
os.mkdir("d")
for index, path in enumerate((PRIVATE, PUBLIC, OPEN, VICTIM_DIR + "/secret.txt", "/etc/passwd", "/proc/self/environ", "main.py")):
    os.symlink(path, f"link{index}.txt")
os.symlink(os.path.dirname(PUBLIC), "directory")
os.symlink("/", "root")
os.mkfifo("fifo.txt")
os.mknod("socket.txt", stat.S_IFSOCK | 0o600)
with open("large.txt", "wb") as file: file.truncate(64 << 20)
open("one.txt", "w").write("hard")
os.link("one.txt", "other.txt")
open("good.txt", "w").write("good")
open("closed.txt", "w").write("closed")
print("done")
"#,
    )
    .with(r#"{"outputFiles": ["*", "**/*", "directory/*", "root/etc/*", "../*", "/etc/passwd"]}"#)
    .ends(Ends::Checked("success", |answer| {
        let mut names = names(answer);
        names.retain(|name| *name != "main.py");
        names == ["closed.txt", "good.txt"]
    })),
    attack(
        "too many results, and too large",
        "the executor (bounds of results)",
        r#"
for index in range(500): open(f"{index:04}.txt", "wb").write(bytes(100000))
print("done")
"#,
    )
    .with(r#"{"outputFiles": ["*.txt"]}"#)
    .ends(Ends::Checked("success", |answer| {
        let count = names(answer).len();
        (1..=100).contains(&count) && answer.to_string().len() < 64 << 20
    })),
        attack(
            "results that change while they are read",
            "the executor (read after everybody is dead)",
            r#"
open("good.txt", "w").write("good")
if os.fork() == 0:
    os.setsid()
    while True:
        for name in ("good.txt", "other.txt"):
            try: os.symlink(PUBLIC, "link"), os.rename("link", name)
            except OSError: pass
            try: open("new", "w").write("good"), os.rename("new", name)
            except OSError: pass
time.sleep(0.2)
print("done", flush=True)
"#,
        )
        .with(r#"{"outputFiles": ["*.txt"]}"#)
        .ends(Ends::Checked("success", |answer| {
            let files = answer["files"].as_array().into_iter().flatten();
            files.into_iter().all(|it| it["content"] == "good" || it["content"] == "")
        })),
        attack(
            "results with names that are no text or look like something else",
            "the executor (names are told as text)",
            r#"
for name in (b"\xff.txt", b"a\nb.txt", b"\x1b[31m.txt", b"..txt", b"\xe2\x80\xae.txt", b"-.txt", b"~.txt"):
    open(name, "w").write("odd")
open("good.txt", "w").write("good")
print("done")
"#,
        )
        .with(r#"{"outputFiles": ["*.txt"]}"#)
        .ends(Ends::Checked("success", |answer| names(answer).contains(&"good.txt"))),
    ],
};

fn names(answer: &Value) -> Vec<&str> {
    let files = answer["files"].as_array().into_iter().flatten();
    files.filter_map(|file| file["path"].as_str()).collect()
}
