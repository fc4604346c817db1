//! Requests that are wrong on purpose: none is run, and none is taken for "without a limit".

use futures::FutureExt as _;
use serde_json::{Value, json};

use crate::attack::{Attack, Ends, attack};
use crate::ground::Ground;
use crate::table::{Scenario, Table};

const STEP: &str = "the protocol (every field is parsed into its bounds)";

pub(crate) static TABLE: Table = Table {
    promise: "a request is within its bounds or is refused",
    against: &[],
    attacks: &[
        refused("no limit of time, asked for as 0", r#"{"timeout": 0}"#),
        refused("no limit of processor time, asked for as 0", r#"{"cpuTime": 0}"#),
        refused("no limit of memory, asked for as 0", r#"{"memoryLimit": 0}"#),
        refused("limits below zero", r#"{"timeout": -1, "cpuTime": -0.5, "memoryLimit": -128}"#),
        refused("limits beyond every number", r#"{"timeout": 1e300, "memoryLimit": 18446744073709551615}"#),
        refused("a limit that wraps around in bytes", r#"{"memoryLimit": 17592186044417}"#),
        refused("limits as texts, lists and truths", r#"{"timeout": "30", "cpuTime": [30], "memoryLimit": true}"#),
        attack("a time limit of almost nothing", "the reaper (wall clock)", "import time\ntime.sleep(9)\n")
            .with(r#"{"timeout": 1e-320}"#)
            .ends(Ends::As(&["timeout"])),
        refused("memory in fractions", r#"{"memoryLimit": 128.5}"#),
        refused("NUL in arguments", r#"{"args": ["a\u0000b"]}"#),
        refused("NUL in values of variables", r#"{"env": {"A": "b\u0000c"}}"#),
        refused("names of variables that hold values", r#"{"env": {"LD_PRELOAD=x.so\nA": "1"}}"#),
        refused("names of variables with NUL", r#"{"env": {"A\u0000B": "1"}}"#),
        refused("variables without a name", r#"{"env": {"": "1"}}"#),
        refused("arguments without end", r#"{"args": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17","18","19","20","21","22","23","24","25","26","27","28","29","30","31","32","33","34","35","36","37","38","39","40","41","42","43","44","45","46","47","48","49","50","51","52","53","54","55","56","57","58","59","60","61","62","63","64","65"]}"#),
        refused("fields that nobody knows", r#"{"network": true, "privileged": true, "uid": 0}"#),
        refused("an option with another behind a line break", r#"{"compilerOptions": ["-O2\n-fplugin=x.so"]}"#)
            .in_language("cpp"),
        refused("an option with another behind a space", r#"{"compilerOptions": ["-O2 -o/tmp/x", "-DA=1\u0000-o/tmp/x"]}"#)
            .in_language("cpp"),
        refused("a source above the work directory", r#"{"files": [{"path": "main.py"}, {"path": "../flotilla-escape", "content": "x"}]}"#),
        refused("a source above by way of below", r#"{"files": [{"path": "main.py"}, {"path": "a/../../flotilla-escape", "content": "x"}]}"#),
        refused("a source with an absolute name", r#"{"files": [{"path": "main.py"}, {"path": "/tmp/flotilla-escape", "content": "x"}]}"#),
        refused("a source whose name ends before it ends", r#"{"files": [{"path": "main.py"}, {"path": "a\u0000/../x", "content": "x"}]}"#),
        refused("sources without a name of their own", r#"{"files": [{"path": "main.py"}, {"path": ".", "content": "x"}, {"path": "", "content": "x"}, {"path": "a/", "content": "x"}, {"path": "a//b", "content": "x"}]}"#),
        refused("two sources of one name", r#"{"files": [{"path": "main.py"}, {"path": "a", "content": "x"}, {"path": "./a", "content": "y"}]}"#),
        refused("a source below a source", r#"{"files": [{"path": "main.py"}, {"path": "a", "content": "x"}, {"path": "a/b", "content": "y"}]}"#),
        refused("a source that is no text in its own coding", r#"{"files": [{"path": "main.py"}, {"path": "a", "content": "%%%", "encoding": "base64"}]}"#),
        refused("a source that is a link", r#"{"files": [{"path": "main.py"}, {"path": "a", "content": "/etc/passwd", "type": "symlink", "mode": 511}]}"#),
        attack(
            "arguments with line breaks and what shells obey",
            "the executor (words, never a shell's line)",
            r#"
expected = ["a\nb", "; touch /tmp/flotilla-escape", "$(touch /tmp/flotilla-escape)", "`id`", "--help", "-c", "*", "", "\x1b[2J"]
if sys.argv[1:] != expected: print("ESCAPED", sys.argv)
if os.environ.get("NAME") != "line\nbreak; id": print("ESCAPED", os.environ.get("NAME"))
print("done")
"#,
        )
        .with(r#"{"args": ["a\nb", "; touch /tmp/flotilla-escape", "$(touch /tmp/flotilla-escape)", "`id`", "--help", "-c", "*", "", "\u001b[2J"], "env": {"NAME": "line\nbreak; id"}}"#),
        attack(
            "patterns of results that point elsewhere or never end",
            "the executor (results are looked for below the work directory)",
            r#"
os.makedirs("a/" * 20)
for name in ("x" * 200, "a/x", "good.txt"): open(name, "w").write("good")
print("done")
"#,
        )
        .with(r#"{"outputFiles": ["**/**/**/**/**/**/**/**/x*x*x*x*x*x*x*y", "/etc/passwd", "../../**", "**/../../*", "good.txt", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"]}"#)
        .ends(Ends::Checked("success", only_good)),
    ],
    scenarios: &[
        Scenario {
            name: "bodies that are no requests",
            stopped_by: STEP,
            against: &[],
            play: |ground| bodies(ground).boxed_local(),
        },
        Scenario {
            name: "plant links and pipes where the next case begins",
            stopped_by: "the work directory (each case has its own, written before it runs)",
            against: &[],
            play: |ground| planted(ground).boxed_local(),
        },
    ],
};

/// A request that must be refused. Its program would tell that it was not.
const fn refused(name: &'static str, fields: &'static str) -> Attack {
    attack(name, STEP, "print('ESCAPED it ran')\n").with(fields).ends(Ends::Refused)
}

fn only_good(answer: &Value) -> bool {
    let files = answer["files"].as_array().into_iter().flatten();
    files.into_iter().all(|it| it["path"] == "good.txt" || it["path"] == "a/x")
}

/// None may be taken, and the server must answer each with a problem.
async fn bodies(ground: &mut Ground) -> Vec<String> {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"code\": \"{}\"}}", "x".repeat(60_000));
    let several = "{\"code\": \"print('ESCAPED')\", \"timeout\": 1, \"timeout\": 0}";
    let bodies = [
        ("not a number", "{\"code\": \"print('ESCAPED')\", \"timeout\": NaN}"),
        ("beyond all numbers", "{\"code\": \"print('ESCAPED')\", \"timeout\": 1e999}"),
        ("infinity", "{\"code\": \"print('ESCAPED')\", \"timeout\": Infinity}"),
        ("nothing", ""),
        ("null", "null"),
        ("a list", "[{\"code\": \"print('ESCAPED')\"}]"),
        ("half a character", "{\"code\": \"print('ESCAPED') # \\ud800\"}"),
        ("brackets", deep.as_str()),
        ("too long", long.as_str()),
        ("behind the end", "{\"code\": \"print('ESCAPED')\"} {\"code\": \"1\"}"),
        ("a field twice", several),
    ];
    let mut faults = Vec::new();
    for (name, body) in bodies {
        let answer = ground.send("python", body).await;
        let status = answer["status"].as_u64();
        if !status.is_some_and(|it| (400..500).contains(&it)) {
            faults.push(format!("{name} was taken: {answer}"));
        }
    }
    faults
}

async fn planted(ground: &mut Ground) -> Vec<String> {
    const PLANT: &str = r#"
import os, stat, sys
fresh = sorted(os.listdir()) == ["lib.py", "main.py"] and os.listdir(os.environ["TMPDIR"]) == []
import lib
print("fresh" if fresh and lib.VALUE == 1 and not os.path.islink("main.py") else "ESCAPED a planted file was found")
for name in ("main.py", "lib.py"):
    os.unlink(name)
    os.symlink(sys.argv[1], name)
kind = int(sys.argv[2])
for name in ("out.txt", "input", "stdin", "main", "case-2"):
    if kind == 0: os.symlink(sys.argv[1], name)
    elif kind == 1: os.mkfifo(name)
    elif kind == 2: os.makedirs(name + "/main.py")
    else: os.link("main.py", name, follow_symlinks=False)
os.rename(os.environ["TMPDIR"], "moved") if kind == 3 else os.symlink("/", os.environ["TMPDIR"] + "/x")
if kind == 2: os.chmod(".", 0)
"#;
    let open = ground.canaries.file("open").to_string_lossy().into_owned();
    let cases: Vec<Value> =
        (0..8).map(|case| json!({ "args": [open, (case % 4).to_string()] })).collect();
    let request = json!({
        "files": [{ "path": "main.py", "content": PLANT }, { "path": "lib.py", "content": "VALUE = 1\n" }],
        "cases": cases,
        "outputFiles": ["*", "**/*"],
    });
    let answer = ground.send("python", &request.to_string()).await;
    let cases = answer["cases"].as_array().cloned().unwrap_or_default();
    let fresh = |case: &&Value| case["output"] == "fresh\n";
    let whole = cases.len() == 8 && cases.iter().all(|it| fresh(&it));
    (!whole).then(|| format!("a case found what another planted: {answer}")).into_iter().collect()
}
