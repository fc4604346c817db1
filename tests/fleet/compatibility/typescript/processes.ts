import assert from "node:assert";
import { execFile, type ExecFileException } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

enum Mark { Low = 1, High }

class Counter<T> {
  readonly #seen = new Map<T, number>();
  constructor(private readonly start: number) {}
  add(item: T): number {
    const count = (this.#seen.get(item) ?? this.start) + 1;
    this.#seen.set(item, count);
    return count;
  }
}

const { stdout }: { stdout: string } = await promisify(execFile)("echo", ["typed"]);
assert.strictEqual(stdout, "typed\n");
const failure = await promisify(execFile)("false").catch((error: ExecFileException) => error.code);
assert.strictEqual(failure, 1);

const directory: string = await mkdtemp(join(tmpdir(), "x-"));
await writeFile(join(directory, "file"), "text");
assert.strictEqual(await readFile(join(directory, "file"), "utf8"), "text");
await rm(directory, { recursive: true });

const squared = await new Promise<number>((resolve, reject) => {
  const source = "const w = require('worker_threads'); w.parentPort.postMessage(w.workerData ** 2)";
  new Worker(source, { eval: true, workerData: 12 }).once("message", resolve).once("error", reject);
});
assert.strictEqual(squared, 144);
const counter = new Counter<Mark>(0);
counter.add(Mark.High);
assert.strictEqual(counter.add(Mark.High) satisfies number, 2);
console.log("works");
