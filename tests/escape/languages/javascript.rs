//! JavaScript and TypeScript.

use crate::attack::{Attack, Ends, attack};
use crate::promise::{CLEAN_UP, FILES, MEMORY_TOTAL, NETWORK, PROCESS_SECRETS, SIGNALS};
use crate::table::Table;

pub(crate) static TABLE: Table = Table {
    promise: "JavaScript is held",
    against: &[],
    scenarios: &[],
    attacks: &[
        javascript(
            "read and write files outside in JavaScript",
            "Landlock (files)",
            r#"
const fs = require("fs");
for (const path of ["@PRIVATE@", "@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt", "/etc/shadow", "/proc/@SERVER@/environ"]) {
    attempt("read " + path, () => fs.readFileSync(path, "utf8"));
    attempt("copy " + path, () => fs.copyFileSync(path, "copy"));
    attempt("require " + path, () => require(path));
    attempt("an add-on " + path, () => process.dlopen({ exports: {} }, path));
}
for (const path of ["@OPEN@", "@DROP@/x", "@STATE@/cache/x", "@PREPARED@/x", "@STATE@/work/x"]) {
    attempt("write " + path, () => fs.writeFileSync(path, "x"));
    attempt("directory " + path, () => fs.mkdirSync(path + "d"));
}
console.log("done");
"#,
        )
        .against(&[FILES]),
        javascript(
            "read files outside by way of the module loader",
            "Landlock (files)",
            r#"
const fs = require("fs"), module_ = require("module");
fs.symlinkSync("@PUBLIC@", "linked.js");
fs.mkdirSync("node_modules");
fs.symlinkSync("@DROP@/..", "node_modules/outside");
attempt("a link", () => require("./linked.js"));
attempt("a package that is a link", () => require("outside/public"));
attempt("a resolved name", () => fs.readFileSync(require.resolve("outside/public"), "utf8"));
attempt("another loader", () => module_.createRequire("@PUBLIC@")("./public"));
import("file://@PUBLIC@").then(() => console.log("ESCAPED import"), error => console.log("held import", error.code))
    .then(() => import("./linked.js")).then(() => console.log("ESCAPED import of a link"), error => console.log("held", error.code))
    .then(() => console.log("done"));
"#,
        )
        .against(&[FILES]),
        javascript(
            "connect and listen in JavaScript",
            "Seccomp (socket)",
            r#"
const net = require("net"), dgram = require("dgram"), http = require("http"), inspector = require("inspector");
attempt("the inspector", () => { inspector.open(0, "127.0.0.1"); if (!inspector.url()) throw new Error("not open"); });
let left = 1;
const ended = () => { if (--left === 0) { console.log("done"); process.exit(0); } };
const watch = (what, socket, event) => {
    left++;
    let once = false;
    const end = (reached) => { if (!once) { once = true; console.log(reached ? "ESCAPED" : "held", what); ended(); } };
    socket.on("error", () => end(false)); socket.on(event, () => end(true));
};
watch("tcp", net.connect(@TCP@, "127.0.0.1"), "connect");
watch("tcp 6", net.connect(@TCP@, "::1"), "connect");
watch("unix", net.connect("@STREAM@"), "connect");
watch("abstract", net.connect("\0@ABSTRACT@-stream"), "connect");
watch("listen", net.createServer().listen(0, "127.0.0.1"), "listening");
watch("http", http.get("http://127.0.0.1:@PORT@/health"), "response");
try {
    const udp = dgram.createSocket("udp4");
    watch("udp", udp, "listening");
    udp.send("x", @UDP@, "127.0.0.1");
} catch { console.log("held udp"); }
ended();
"#,
        )
        .against(&[NETWORK]),
        javascript(
            "signal and slow down others in JavaScript",
            "Landlock (signal scope), Identity",
            r#"
const os = require("os");
for (const pid of [@SERVER@, @SPAWNER@, @REAPER@, @VICTIM@].concat(@NAMESPACED@ ? [] : [process.ppid]))
    for (const signal of [0, "SIGTERM", "SIGKILL", "SIGUSR1"]) attempt("kill " + pid, () => process.kill(pid, signal));
for (const pid of [@SERVER@, @VICTIM@]) attempt("priority", () => os.setPriority(pid, 19));
console.log("done");
"#,
        )
        .against(&[SIGNALS]),
        javascript(
            "find the server's secrets in JavaScript",
            "the spawner (empty environment)",
            r#"
for (const name of Object.keys(process.env)) if (/EXECUTOR|TOKEN|VICTIM/.test(name)) console.log("ESCAPED", name);
const report = JSON.stringify(process.report.getReport().environmentVariables);
if (/EXECUTOR|TOKEN|VICTIM/.test(report)) console.log("ESCAPED", report);
if (process.argv.length !== 2 || process.execArgv.some((it) => /token/i.test(it))) console.log("ESCAPED", process.argv);
console.log("done");
"#,
        )
        .against(&[PROCESS_SECRETS]),
        javascript(
            "stay on in JavaScript",
            "the reaper",
            r#"
const { spawn } = require("child_process"), { Worker } = require("worker_threads");
for (const options of [{ detached: true, stdio: "ignore" }, { detached: true, stdio: "inherit" }, {}])
    spawn("setsid", ["sleep", "1000"], options).unref();
spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"], { detached: true, stdio: "inherit" }).unref();
new Worker("for (;;) {}", { eval: true }).unref();
setTimeout(() => { console.log("done"); process.exit(0); }, 300);
"#,
        )
        .with(r#"{"memoryLimit": 512}"#)
        .against(&[CLEAN_UP]),
        javascript(
            "take memory outside the heap of JavaScript",
            "the reaper (memory of the tree), Data",
            "const held = []; for (;;) held.push(Buffer.alloc(8 << 20, 1));\n",
        )
        .ends(Ends::As(&["memory_limit", "runtime_error"]))
        .against(&[MEMORY_TOTAL]),
        javascript(
            "end without having run to the end, in JavaScript",
            "the executor (status comes from the kernel)",
            r#"
process.on("exit", () => { process.exitCode = 0; process.reallyExit(91); });
console.log("done");
"#,
        )
        .ends(Ends::Checked("runtime_error", |answer| answer["exitCode"] == 91)),
        typescript(
            "take files outside by way of TypeScript's own directives",
            r#"
/// <reference path="@PUBLIC@" />
/// <amd-dependency path="@PUBLIC@" />
import { readFileSync } from "fs";
const paths: string[] = ["@PUBLIC@", "@OPEN@", "@VICTIM_DIR@/secret.txt"];
for (const path of paths) {
    try { console.log("ESCAPED", readFileSync(path, "utf8")); } catch (error) { console.log("held", (error as { code: string }).code); }
    try { require(path); console.log("ESCAPED", path); } catch { console.log("held", path); }
}
console.log("done");
"#,
        )
        .with(
            r##"{"files": [{"path": "main.ts"},
            {"path": "tsconfig.json", "content": "{\"extends\": \"/etc/passwd\", \"files\": [\"/etc/passwd\"], \"compilerOptions\": {\"outDir\": \"/tmp\", \"plugins\": [{\"name\": \"/tmp/x\"}], \"paths\": {\"*\": [\"/etc/*\"]}}}"},
            {"path": "package.json", "content": "{\"type\": \"commonjs\", \"imports\": {\"#x\": \"/etc/passwd\"}}"},
            {"path": ".npmrc", "content": "node-options=--require=/tmp/x.js\n"},
            {"path": ".noderc", "content": "--require=/tmp/x.js\n"}]}"##,
        ),
        typescript(
            "import a file outside into TypeScript",
            "import \"@PUBLIC@\";\nconsole.log(\"ESCAPED\");\n",
        )
        .with(r#"{"files": [{"path": "main.ts"}]}"#)
        .ends(Ends::As(&["runtime_error", "compile_error"])),
    ],
};

const fn javascript(name: &'static str, stopped_by: &'static str, code: &'static str) -> Attack {
    attack(name, stopped_by, code).in_language("javascript")
}

const fn typescript(name: &'static str, code: &'static str) -> Attack {
    javascript(name, "Landlock (files)", code).against(&[FILES])
}
