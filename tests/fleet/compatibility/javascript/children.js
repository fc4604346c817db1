const assert = require("assert");
const { spawn, exec, execFileSync, fork, spawnSync } = require("child_process");

if (process.argv[2] === "child") {
  process.on("message", (n) => process.send(n * n, () => process.disconnect()));
} else {
  const spawned = new Promise((resolve) => {
    const child = spawn("tr", ["a-z", "A-Z"]);
    let text = "";
    child.stdout.on("data", (data) => (text += data));
    child.on("close", (code) => resolve([text, code]));
    child.stdin.end("abc");
  });
  const executed = new Promise((resolve) => exec("echo $((6 * 7)); exit 3", (error, out) => resolve([out, error.code])));
  const forked = new Promise((resolve) => {
    const child = fork(__filename, ["child"]);
    child.send(7);
    child.on("message", (n) => child.on("exit", (code) => resolve([n, code])));
  });
  Promise.all([spawned, executed, forked]).then((all) => {
    assert.deepStrictEqual(all, [["ABC", 0], ["42\n", 3], [49, 0]]);
    assert.strictEqual(execFileSync(process.execPath, ["-p", "1 + 1"]).toString(), "2\n");
    assert.strictEqual(spawnSync("sleep", ["60"], { timeout: 50 }).signal, "SIGTERM");
    console.log("works");
  });
}
