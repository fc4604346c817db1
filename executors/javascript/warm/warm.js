// Makes a Node process ready before its program is known. Preloaded with `-r`, it loads and touches
// what nearly every program uses, says on descriptor 3 that it is ready, waits there for one
// program, and lets Node run that as the main module. Nothing of this file is to be seen then.
//
// It is started elsewhere than in the work directory, because Node remembers for ever that there
// was no package.json where it was started; the work directory is that of the command's script.
"use strict";

const Module = require("module");
const { closeSync, readSync, writeSync } = require("fs");
const { dirname, resolve } = require("path");

const CHANNEL = 3;
const MESSAGE_BYTES_MAX = 32 << 20;

// What programs load first of all. The rest costs more processor time than it is likely to save.
const COMMON = ["events", "net", "os", "readline", "stream", "tty", "url", "util"];

// A worker inherits the option that preloads this file. It is nobody's to wait in.
if (require("worker_threads").isMainThread) {
  process.chdir(dirname(process.argv[1]));
  COMMON.forEach((it) => require(it));
  touch();
  writeSync(CHANNEL, "r");
  const program = receive();
  if (program === null) process.reallyExit(0);
  closeSync(CHANNEL);
  become(program);
}
hide();

// Has the functions compiled that stand between a program and its first line of output, and those
// that load modules. The real streams stay untouched, and so does `console`: once they are made,
// their pipes are non-blocking for whoever else writes.
function touch() {
  const { formatWithOptions } = require("util");
  const sample = { a: [1, "b"], c: new Map([[1, new Set([2])]]), e: new Error("sample") };
  formatWithOptions({ colors: false }, "%s %d", "text", 1, sample);
  new (require("net").Socket)({ readable: false, writable: true });
  import("node:fs");
  // What was begun ends here, and not in the midst of the program.
  process._tickCallback();
}

// Reads to the end: a number and as many words, a number and as many variables, each field closed
// by a NUL. Null if the message is not whole: whoever would have sent it is gone.
function receive() {
  const chunks = [];
  let size = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(65536);
    const count = readSync(CHANNEL, chunk, 0, chunk.length, null);
    if (count === 0) break;
    size += count;
    if (size > MESSAGE_BYTES_MAX) return null;
    chunks.push(chunk.subarray(0, count));
  }
  const fields = Buffer.concat(chunks).toString().split("\0");
  const words = fields.splice(1, Number(fields[0]));
  const variables = fields.splice(2, Number(fields[1]));
  const isWhole =
    fields.length === 3 &&
    fields[2] === "" &&
    words.length === Number(fields[0]) &&
    variables.length === Number(fields[1]) &&
    words.length > 0;
  return isWhole ? { words, variables } : null;
}

function become({ words: [entry, ...args], variables }) {
  for (const variable of variables) {
    const equals = variable.indexOf("=");
    process.env[variable.slice(0, equals)] = variable.slice(equals + 1);
  }
  const main = resolve(entry);
  process.argv.splice(1, Infinity, main, ...args);
  // Node calls `Module.runMain` next, some versions with the entry of the command line. A bound
  // function has no frame of its own in stack traces, and the property is itself again by then.
  const own = Object.getOwnPropertyDescriptor(Module, "runMain");
  const runMain = Module.runMain.bind(Module, main);
  Object.defineProperty(Module, "runMain", {
    configurable: true,
    enumerable: own.enumerable,
    get() {
      Object.defineProperty(Module, "runMain", own);
      return runMain;
    },
  });
}

// Takes away what tells of this file: what children are started with, caches, and what the last
// regular expression matched.
function hide() {
  const { execArgv } = process;
  const option = execArgv.findIndex((it, index) => it === "-r" && execArgv[index + 1] === __filename);
  if (option >= 0) execArgv.splice(option, 2);
  delete require.cache[__filename];
  for (const [key, path] of Object.entries(Module._pathCache)) {
    if (path === __filename) delete Module._pathCache[key];
  }
  /^/.exec("");
}
