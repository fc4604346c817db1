import { expect, it } from "vitest";

import { Problem } from "../../page/lib/api";
import { hasFailed, issueOf } from "../../page/play/issue";
import type { Report } from "../../page/run/run";

const report = {
  requestId: "req_1",
  status: "runtime_error",
  exitCode: 1,
  signal: null,
  executionTime: 0.25,
  cpuTime: 0.125,
  memoryUsed: 14 << 20,
  warm: true,
  isolation: "separated",
  language: "alpha",
  version: "1.2.3",
} as Report;
const body = { language: "alpha", code: "print()\n", timeout: 10, memoryLimit: 128 };

it("has the verdict, the limits, the versions, the request and the source", () => {
  expect(issueOf(body, { kind: "report", report, tookMs: 1 }, "run_1", "\u001b[1;31moh\u001b[0m no")).toBe(`**Runtime error, exit code 1**

- Runtime: alpha 1.2.3, isolation separated, warm
- Limits: 10 s, 128 MB
- Taken: 250 ms, processor 125 ms, 14 MB
- Request: req_1
- Run: run_1

Program:

\`\`\`alpha
print()
\`\`\`

Output:

\`\`\`
oh no
\`\`\`
`);
});

it("has every file, arguments and input, and fences that nothing closes", () => {
  const files = [
    { path: "main.a", content: "````\n" },
    { path: "b.a", content: "x" },
  ];
  const problem = new Problem(502, "executor_lost", "the executor went away", "req_2");
  const text = issueOf({ language: "alpha", files, args: ["a b"], inputData: "in", timeout: 1, memoryLimit: 64 }, { kind: "problem", problem }, undefined, "");
  expect(text).toMatch(/^\*\*Not run: the executor went away\*\*/);
  for (const part of ["alpha (default version)", "Request: req_2", "main.a:\n\n`````alpha\n````\n`````\n", "b.a:\n\n```alpha\nx\n```", '["a b"]', "Standard input:\n\n```\nin\n```"]) {
    expect(text).toContain(part);
  }
});

it("has the end of a long output", () => {
  const text = issueOf(body, { kind: "report", report, tookMs: 1 }, undefined, `${"x".repeat(10_000)}the end`);
  expect([text.length < 5000, text.includes("the end"), text.includes("End of the output:")]).toEqual([true, true, true]);
});

it("is of runs that failed, and of none that was stopped or went well", () => {
  const of = (status: string) => hasFailed({ kind: "report", report: { ...report, status }, tookMs: 1 });
  expect(["success", "cancelled", "runtime_error", "timeout", "compile_error"].map(of)).toEqual([false, false, true, true, true]);
  expect([hasFailed(undefined), hasFailed({ kind: "stopped", tookMs: 1 })]).toEqual([false, false]);
});
