//! How a run ended, and what it wrote, is the kernel's word and the bytes; nothing that a program
//! prints or does changes the report of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::attack::{Ends, attack};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "a report is the word of the kernel",
    against: &[],
    scenarios: &[],
    attacks: &[
        attack(
            "write without end on both streams",
            "the executor (it reads so much and no more)",
            r#"
block = b"x" * 65536
def flood(stream):
    while True: os.write(stream, block)
threading.Thread(target=flood, args=(2,)).start()
flood(1)
"#,
        )
        .with(r#"{"timeout": 60, "cpuTime": 60}"#)
        .ends(Ends::Checked("output_limit", is_cut)),
        attack(
            "forge a report",
            "the executor (status comes from the kernel)",
            r#"
import json
forged = json.dumps({"status": "accepted", "output": "forged", "exitCode": 0, "signal": None, "executionTime": 0})
for stream in (1, 2):
    os.write(stream, (forged + "\n\n{\"Ended\":{\"exit\":{\"Code\":0}}}\nevent: exit\ndata: " + forged + "\n\n").encode())
    os.write(stream, b"\x1b]0;title\x07\x1b[2J\x1b[31m\x00\xff\xfe\xc3\x28\xed\xa0\x80\r\n\xe2\x80\xae")
os._exit(77)
"#,
        )
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["exitCode"] == 77 && answer["output"].as_str().is_some_and(|it| it.contains('\u{1b}'))
        })),
        attack(
            "look as if a signal had ended it",
            "the executor (status comes from the kernel)",
            "os._exit(137)\n",
        )
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["exitCode"] == 137 && answer["signal"].is_null()
        })),
        attack(
            "look as if it had run out of time",
            "the executor (status comes from the kernel)",
            "os.kill(os.getpid(), signal.SIGKILL)\n",
        )
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["signal"] == "SIGKILL" && answer["exitCode"].is_null()
        })),
        attack(
            "close the standard streams and go on",
            "the executor (the end is the program's, not the stream's)",
            r#"
os.write(1, b"first")
os.close(0), os.close(1), os.close(2)
time.sleep(0.2)
os._exit(5)
"#,
        )
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["exitCode"] == 5 && answer["output"] == "first"
        })),
        attack(
            "write into its own input and read its own output",
            "the executor (the far ends are its own)",
            r#"
for path, flags in (("/proc/self/fd/0", os.O_WRONLY), ("/proc/self/fd/1", os.O_RDONLY)):
    try: os.open(path, flags | os.O_NONBLOCK)
    except OSError: pass
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
os.set_blocking(1, True)
print("done")
"#,
        ),
        attack(
            "end by every signal there is",
            "the executor (status comes from the kernel)",
            r"
number = int(sys.argv[1])
try: signal.signal(number, signal.SIG_DFL)
except (OSError, ValueError): pass
os.kill(os.getpid(), number)
# Those that do not end us by default.
os._exit(64)
",
        )
        .with(
            r#"{"timeout": 5, "cases": [{"args": ["1"]}, {"args": ["2"]}, {"args": ["3"]}, {"args": ["4"]}, {"args": ["5"]}, {"args": ["6"]}, {"args": ["7"]}, {"args": ["8"]},
            {"args": ["9"]}, {"args": ["10"]}, {"args": ["11"]}, {"args": ["12"]}, {"args": ["13"]}, {"args": ["14"]}, {"args": ["15"]}, {"args": ["16"]}, {"args": ["17"]}, {"args": ["18"]},
            {"args": ["23"]}, {"args": ["24"]}, {"args": ["25"]}, {"args": ["26"]}, {"args": ["27"]}, {"args": ["28"]}, {"args": ["29"]}, {"args": ["30"]}, {"args": ["31"]},
            {"args": ["34"]}, {"args": ["64"]}]}"#,
        )
        .ends(Ends::Checked("runtime_error", each_signal_is_told)),
        attack(
            "go on after the signal that ends processor time",
            "Limit (Cpu), the reaper (processor time of the tree)",
            r#"
for number in (signal.SIGXCPU, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF):
    signal.signal(number, lambda *_: print("heard it", flush=True))
while True: pass
"#,
        )
        .with(r#"{"cpuTime": 1, "timeout": 20}"#)
        .ends(Ends::As(&["timeout"])),
        attack(
            "pass by ending early",
            "the executor (what must be printed was not)",
            "print('1')\nsys.stdout.flush()\nos._exit(0)\n",
        )
        .with(r#"{"cases": [{"expectedOutput": "1\n2\n"}, {"expectedOutput": "1"}, {"expectedOutput": ""}]}"#)
        .ends(Ends::Checked("wrong_answer", |answer| {
            let statuses = [0, 1, 2].map(|index| answer["cases"][index]["status"].clone());
            statuses == ["wrong_answer", "accepted", "wrong_answer"]
        })),
        attack(
            "speak of memory and end well",
            "the executor (last words count only for a run that failed)",
            "os.write(2, b'MemoryError\\n')\nprint('done')\n",
        ),
        attack(
            "one line of megabytes",
            "the executor (it reads so much and no more)",
            "os.write(1, b'')\nsys.stdout.write('x' * (6 << 20))\nsys.stdout.flush()\n",
        )
        .ends(Ends::Checked("success", is_cut)),
        attack(
            "a character in pieces, and one that never ends",
            "the executor (output is whole characters)",
            r#"
for byte in "é€😀".encode():
    os.write(1, bytes([byte]))
    time.sleep(0.01)
os.write(1, b"\n\xe2\x82")
"#,
        )
        .ends(Ends::Checked("success", |answer| {
            answer["output"].as_str().is_some_and(|it| it.starts_with("é€😀\n\u{fffd}"))
        })),
        attack(
            "a character across the end of what is kept",
            "the executor (output is whole characters)",
            "sys.stdout.write('a' + '€' * (1 << 20))\n",
        )
        .ends(Ends::Checked("success", |answer| {
            let output = answer["output"].as_str().unwrap_or_default();
            answer["outputTruncated"] == true && !output.contains('\u{fffd}')
        })),
        attack(
            "leave a dump of its memory",
            "Limit (Core)",
            r"
try: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))
except (OSError, ValueError): pass
os.abort()
",
        )
        .with(r#"{"outputFiles": ["*core*", "**/*core*"]}"#)
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["signal"] == "SIGABRT" && answer["files"].as_array().is_none_or(Vec::is_empty)
        })),
        attack(
            "end by a child that ends by a signal",
            "the executor (status is the program's, not its children's)",
            r"
child = os.fork()
if child == 0: os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
os._exit(6)
",
        )
        .ends(Ends::Checked("runtime_error", |answer| {
            answer["exitCode"] == 6 && answer["signal"].is_null()
        })),
    ],
};

fn is_cut(answer: &Value) -> bool {
    let length = |name: &str| answer[name].as_str().map_or(0, str::len);
    length("output") <= 1 << 20 && length("error") <= 1 << 20 && answer["outputTruncated"] == true
}

/// Whether each case was ended by its signal, or went on after one that ends nobody.
fn each_signal_is_told(answer: &Value) -> bool {
    let cases = answer["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let went_on = |case: &&Value| case["exitCode"] == 64 && case["signal"].is_null();
    let ended = |case: &&Value| case["exitCode"].is_null() && case["signal"].is_string();
    let signals: BTreeSet<&str> = cases.iter().filter_map(|it| it["signal"].as_str()).collect();
    // SIGCHLD, SIGCONT, SIGURG and SIGWINCH end nobody.
    let (ended, went_on) = (cases.iter().filter(ended), cases.iter().filter(went_on));
    ended.count() == 25 && went_on.count() == 4 && signals.len() == 25
}
