import { h, render } from "preact";
import { afterEach, expect, it, vi } from "vitest";

import CallbacksPage from "../../page/jobs/callbacks";
import type { Callback } from "../../page/jobs/report";

afterEach(() => {
  render(null, document.body);
  vi.unstubAllGlobals();
});

it("says of a callback that waits that it is to be tried again, and of one that is over that it is given up", async () => {
  const of = { jobId: "job_1", url: "https://example.com/hook", attempt: 2, reason: "it answered 500" };
  const callbacks: Callback[] = [
    { ...of, number: 1, dueAt: new Date(Date.now() + 60_000).toISOString() },
    { ...of, number: 2, dueAt: null },
  ];
  vi.stubGlobal("fetch", async (path: string) => Response.json(path === "/v1/callbacks" ? { callbacks } : { languages: [] }));
  render(h(CallbacksPage, { params: {} }), document.body);
  const told = () => Array.from(document.querySelectorAll(".callbacks li"), (it) => it.textContent ?? "");
  await vi.waitFor(() => expect(told()).toHaveLength(2), { timeout: 30_000 });
  expect(told()[0]).toMatch(/^To be tried again.*It answered 500\. 2 tries, next in (\d+ s|1 min)/);
  expect(told()[1]).toMatch(/^Given up.*2 triesjob_1$/);
});
