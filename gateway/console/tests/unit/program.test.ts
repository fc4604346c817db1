import { describe, expect, it } from "vitest";

import { curl, freshPath, joined, LIMITS, requestOf, runOf, split, wrongPath } from "../../page/play/program";

describe("arguments", () => {
  it.each([
    ["", []],
    ["a  b", ["a", "b"]],
    ["--name 'two words' \"it's\"", ["--name", "two words", "it's"]],
    ["a\\ b ''", ["a b", ""]],
    ['"a\\"b" \'a\\b\'', ['a"b', "a\\b"]],
  ])("are split as in a shell: %s", (line, words) => {
    expect(split(line)).toEqual(words);
    expect(split(joined(words))).toEqual(words);
  });
});

it("knows which names a file may have", () => {
  for (const path of ["", "/a", "a/../b", "a//b", "./a", "a\\b", "main.x", "lib"]) {
    expect(wrongPath(path, ["main.x", "lib/a.x"]), path).toBeDefined();
  }
  for (const path of ["a.x", "lib/b.x", "ä ö.x"]) expect(wrongPath(path, ["main.x", "lib/a.x"]), path).toBeUndefined();
});

it("finds a name for one more file", () => {
  const file = (path: string) => ({ path, content: "" });
  expect(freshPath([file("main.x")], "main.x")).toBe("file.x");
  expect(freshPath([file("main.x"), file("file.x")], "main.x")).toBe("file2.x");
});

it("asks for what is on the desk and nothing else", () => {
  const draft = { files: [{ path: "main.x", content: "it's" }], args: "", input: "" };
  const alpha = { id: "alpha", entry: "main.x" };
  const limits = { ...LIMITS, bring: "" };
  const body = requestOf(alpha, undefined, draft, limits);
  expect(body).toEqual({ language: "alpha", code: "it's", timeout: 10, memoryLimit: 128 });
  const renamed = requestOf({ ...alpha, entry: "other.x" }, "1.2", { ...draft, args: "a b", input: "in" }, limits);
  expect(renamed).toEqual({
    language: "alpha",
    version: "1.2",
    files: draft.files,
    args: ["a", "b"],
    inputData: "in",
    timeout: 10,
    memoryLimit: 128,
  });
  const line = curl("http://host", body, true);
  expect(line).toContain("it'\\''s");
  expect(line).toContain("$FLOTILLA_KEY");
  expect(curl("http://host", body, false)).not.toContain("FLOTILLA_KEY");
});

it("runs what has its input as it was asked for, and keeps the rest open for as long as may be", () => {
  const body = { language: "alpha", code: "x", timeout: 10, memoryLimit: 128 };
  const typed = { ...body, inputData: "in" };
  expect(runOf(typed, LIMITS)).toEqual(typed);
  const { timeout, ...rest } = body;
  expect(runOf(body, LIMITS)).toEqual({ ...rest, cpuTime: timeout, interactive: true });
  expect(runOf(body, { ...LIMITS, timeout: 10 })).toEqual({ ...body, interactive: true });
  const tty = { cols: 90, rows: 20 };
  expect(runOf(typed, LIMITS, tty)).toEqual({ ...rest, inputData: "in", cpuTime: timeout, tty });
});
