//! How a run ended, and what it wrote, is the kernel's word and the bytes; nothing that a program
//! prints or does changes the report of it.

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
    ],
};

fn is_cut(answer: &Value) -> bool {
    let length = |name: &str| answer[name].as_str().map_or(0, str::len);
    length("output") <= 1 << 20 && length("error") <= 1 << 20 && answer["outputTruncated"] == true
}
