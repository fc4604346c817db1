import { describe, expect, test } from "vitest";

import { adviceOf } from "../../page/jobs/acts";
import { facts, firstDifference, verdict } from "../../page/jobs/compare";
import { asked, changed, type Filters, isNarrowed, read, written } from "../../page/jobs/filters";
import { ranMs, type Result, type Shown, totals } from "../../page/jobs/report";
import { again, curl, shared, sourcesOf, wishesOf } from "../../page/jobs/submission";
import { steps } from "../../page/jobs/timeline";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString();

const JOB: Shown = {
  id: "019de0a0-0000-7000-8000-0123456789ab",
  caller: null,
  language: "python",
  queue: "default",
  state: "ready",
  reason: null,
  priority: 5,
  attempt: 0,
  attemptsMax: 3,
  cancelRequested: false,
  createdAt: at(-10),
  runAt: null,
  startedAt: null,
  finishedAt: null,
  position: 2,
  version: 1,
  expectedStartMs: 400,
  attempts: [],
};

const RESULT: Result = {
  requestId: "r",
  status: "success",
  output: "42\n",
  error: "",
  outputTruncated: false,
  errorTruncated: false,
  executionTime: 0.02,
  cpuTime: 0.01,
  memoryUsed: 8_000_000,
  exitCode: 0,
  signal: null,
  compile: null,
  timings: { queue: 0, compile: 0, start: 4, run: 20, total: 24 },
  warm: true,
  isolation: "separated",
  language: "python",
  version: "3.12.1",
};

describe("filters", () => {
  const FILTERS: Filters = { state: "dead", language: "c++", queue: "large", caller: "*", within: "1h", cursor: "120" };

  test("what the address says is what is written into it", () => {
    expect(read(written(FILTERS))).toEqual(FILTERS);
    expect(read("")).toEqual({});
    expect(written({})).toBe("");
  });

  test("what an address says wrongly is not said", () => {
    expect(read("?state=lost&within=1y&cursor=x&language=%20&other=1")).toEqual({});
  });

  test("other filters begin with the first page, and none is taken away", () => {
    expect(changed(FILTERS, { state: "ready" })).toEqual({ state: "ready", language: "c++", queue: "large", caller: "*", within: "1h" });
    expect(changed(FILTERS, { language: undefined, queue: "" })).toEqual({ state: "dead", caller: "*", within: "1h" });
  });

  test("the gateway is asked for all of it, and for the counts", () => {
    const parameters = new URL(asked(FILTERS, NOW), "http://x").searchParams;
    expect(Object.fromEntries(parameters)).toEqual({
      state: "dead",
      language: "c++",
      queue: "large",
      caller: "*",
      cursor: "120",
      since: "2026-11-30T11:00:00Z",
      limit: "50",
      counts: "true",
    });
    expect(asked({}, NOW)).toBe("/v1/jobs?limit=50&counts=true");
  });

  test("counts tell of state and caller alone", () => {
    expect(isNarrowed({ state: "dead", caller: "*" })).toBe(false);
    expect(isNarrowed({ within: "1h" })).toBe(true);
  });
});

describe("the timeline", () => {
  const told = (job: Shown) => steps(job, NOW).map((it) => [it.title, it.ms, it.tone, it.isOpen ?? false]);

  test("a job that waits has waited until now", () => {
    expect(told(JOB)).toEqual([["Queued", 10_000, "none", true]]);
  });

  test("a job whose time has not come says when", () => {
    const [step] = steps({ ...JOB, state: "scheduled", runAt: at(60) }, NOW);
    expect(step).toMatchObject({ title: "Scheduled", isOpen: true, until: NOW + 60_000 });
  });

  test("every attempt is told, with the waits between and what became of it", () => {
    const job: Shown = {
      ...JOB,
      state: "succeeded",
      attempt: 2,
      startedAt: at(-4),
      finishedAt: at(-3),
      result: RESULT,
      attempts: [
        { number: 1, worker: "a", startedAt: at(-9), endedAt: at(-7), reason: "lost" },
        { number: 2, worker: "b", startedAt: at(-4), endedAt: at(-3), reason: "completed" },
      ],
    };
    expect(told(job)).toEqual([
      ["Queued", 1000, "none", false],
      ["Attempt 1", 2000, "warn", false],
      ["Queued again", 3000, "none", false],
      ["Attempt 2", 1000, "pass", false],
      ["Succeeded", undefined, "pass", false],
    ]);
    const [, first, , second] = steps(job, NOW);
    expect(first).toMatchObject({ worker: "a", detail: "The worker was lost" });
    expect(first?.parts).toBeUndefined();
    expect(second?.detail).toBeUndefined();
    expect(second?.parts).toEqual([
      { name: "start", ms: 4 },
      { name: "run", ms: 20 },
    ]);
  });

  test("what was compiled first says for how long, and what took no time is left out", () => {
    const compiled: Result = {
      ...RESULT,
      compile: { status: "success", output: "", time: 0.8, cached: false },
      timings: { queue: 12, compile: 800, start: 0.04, run: 20, total: 832 },
    };
    const attempts = [{ number: 1, worker: "a", startedAt: at(-4), endedAt: at(-3), reason: "completed" }];
    const job: Shown = { ...JOB, state: "succeeded", attempt: 1, startedAt: at(-4), finishedAt: at(-3), result: compiled, attempts };
    expect(steps(job, NOW).map((it) => it.parts)).toEqual([
      undefined,
      [
        { name: "queue", ms: 12 },
        { name: "compile", ms: 800 },
        { name: "run", ms: 20 },
      ],
      undefined,
    ]);
  });

  test("an attempt that goes on has no end", () => {
    const attempts = [{ number: 1, worker: "a", startedAt: at(-2), endedAt: null, reason: null }];
    expect(told({ ...JOB, state: "leased", attempt: 1, startedAt: at(-2), attempts })).toEqual([
      ["Queued", 8000, "none", false],
      ["Attempt 1", 2000, "run", true],
    ]);
  });

  test("between attempts it waits for the next one", () => {
    const attempts = [{ number: 1, worker: "a", startedAt: at(-9), endedAt: at(-7), reason: "lost" }];
    expect(told({ ...JOB, state: "scheduled", runAt: at(5), attempts }).at(-1)).toEqual(["Waits for another attempt", 7000, "none", true]);
  });

  test("what was never started ends all the same, and the dead say why", () => {
    expect(told({ ...JOB, state: "cancelled", finishedAt: at(-1) })).toEqual([
      ["Queued", 9000, "none", false],
      ["Cancelled", undefined, "warn", false],
    ]);
    const dead = steps({ ...JOB, state: "dead", reason: "poison", finishedAt: at(0) }, NOW).at(-1);
    expect(dead).toMatchObject({ title: "Dead", tone: "fail", detail: "Two workers in a row were lost with it" });
    const attempts = [{ number: 1, worker: "a", startedAt: at(-9), endedAt: at(0), reason: "lost" }];
    expect(steps({ ...JOB, state: "dead", reason: "lost", finishedAt: at(0), attempts }, NOW).at(-1)?.detail, "it is told once").toBeUndefined();
  });
});

describe("a submission", () => {
  test("is sent again as it was, to the same queue", () => {
    const submission = { language: "py", code: "print(1)", timeout: 5 };
    expect(again(submission, JOB)).toEqual({ ...submission, queue: "default", priority: 5, maxAttempts: 3 });
    const command = curl("http://x", { language: "py", code: "print('a')" }, true);
    expect(command).toContain(`-d '{"language":"py","code":"print('\\''a'\\'')"}'`);
    expect(command).toContain("$FLOTILLA_KEY");
    expect(curl("http://x", {}, false)).not.toContain("authorization");
  });

  test("is shown by its files, and opened where it is text", () => {
    const code = { language: "py", code: "1", args: ["a b"], inputData: "in" };
    expect(sourcesOf(code, "main.py")).toEqual([{ path: "main.py", content: "1", isBinary: false }]);
    expect(shared(code, "python", "main.py")).toEqual({
      language: "python",
      files: [{ path: "main.py", content: "1" }],
      args: "'a b'",
      input: "in",
    });
    const files = { language: "py", files: [{ path: "a", content: "AA==", encoding: "base64" }] };
    expect(sourcesOf(files, "main.py")[0]?.isBinary).toBe(true);
    expect(shared(files, "python", "main.py")).toBeUndefined();
  });

  test("is shown with everything else that was asked for", () => {
    const wishes = wishesOf({ language: "py", code: "1", inputData: "x", timeout: 5, memoryLimit: 64, args: ["a b"], env: { A: "1" }, cases: [{}, {}] });
    expect(wishes).toEqual([
      ["timeout", "5 s"],
      ["memoryLimit", "64 MB"],
      ["args", "'a b'"],
      ["env", '{"A":"1"}'],
      ["cases", "2"],
    ]);
  });
});

describe("two results", () => {
  test("that say the same are the same, however long they took", () => {
    expect(verdict(RESULT, { ...RESULT, executionTime: 1 }).isSame).toBe(true);
    const run = facts(RESULT, { ...RESULT, executionTime: 0.03 }).find((it) => it.name === "Run");
    expect(run).toMatchObject({ before: "20 ms", after: "30 ms", change: "+50 %", isOdd: false });
  });

  test("are told apart by line, status, version and isolation", () => {
    expect(firstDifference("a\nb\n", "a\nb\n")).toBeUndefined();
    expect(firstDifference("a\nb\n", "a\nc\n")).toBe(2);
    expect(firstDifference("a\n", "a\nb\n")).toBe(2);
    expect(firstDifference("a", "a\nb")).toBe(2);
    const other = { ...RESULT, output: "43\n", status: "timeout", version: "3.11", isolation: "limits" };
    expect(verdict(RESULT, other)).toEqual({ isSame: false, text: "It ended otherwise, the output differs from line 1 on." });
    const odd = facts(RESULT, other).filter((it) => it.isOdd);
    expect(odd.map((it) => it.name)).toEqual(["Status", "Runtime", "Isolation"]);
  });
});

test("the queue is the sum of its lanes", () => {
  const lane = { language: "a", queue: "default", scheduled: 1, ready: 2, leased: 3, dead: 4, oldestReadyMs: 500, averageRunMs: null };
  const queue = { durability: "power_loss", health: "pass" as const, reason: null, slots: 1, executors: 1, workers: 0, bytes: 1, languages: [lane, { ...lane, oldestReadyMs: null }] };
  expect(totals(queue)).toEqual({ scheduled: 2, ready: 4, leased: 6, dead: 8, oldestReadyMs: 500 });
  expect(totals({ ...queue, languages: [] }).oldestReadyMs).toBeNull();
});

test("how long a job took ends with it", () => {
  expect(ranMs(JOB, NOW)).toBeUndefined();
  expect(ranMs({ startedAt: at(-3), finishedAt: null }, NOW)).toBe(3000);
  expect(ranMs({ startedAt: at(-3), finishedAt: at(-1) }, NOW)).toBe(2000);
});

test("a refusal says what to do", () => {
  expect(adviceOf({ status: 403, code: "forbidden" })).toMatch(/role admin/);
  expect(adviceOf({ status: 409, code: "job_is_final" })).toMatch(/run it again/);
  expect(adviceOf({ status: 429, code: "rate_limited", retryAfter: 3 })).toBe("Try again in 3 seconds.");
  expect(adviceOf({ status: 422, code: "invalid_request" })).toBeUndefined();
});
