const assert = require("assert");
const fs = require("fs"), os = require("os"), path = require("path");

(async () => {
  fs.mkdirSync("a/b", { recursive: true });
  fs.writeFileSync("a/b/c", "text");
  fs.copyFileSync("a/b/c", "copy");
  fs.cpSync("a", "z", { recursive: true });
  fs.renameSync("z/b/c", "z/moved");
  fs.symlinkSync("copy", "link");
  fs.appendFileSync("copy", "!");
  assert.strictEqual(await fs.promises.readFile("link", "utf8"), "text!");
  const handle = await fs.promises.open("copy", "r+");
  await handle.write("T", 0);
  await handle.close();
  assert.deepStrictEqual(fs.readdirSync("z").sort(), ["b", "moved"]);
  assert.ok((await fs.promises.stat("copy")).isFile() && fs.existsSync("a/b") && !fs.existsSync("nothing"));
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "x-"));
  fs.rmSync(directory, { recursive: true });
  await assert.rejects(fs.promises.readFile("nothing"), { code: "ENOENT" });
  console.log("works");
})();
