import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Polled } from "../../page/lib/fresh";
import { poll } from "../../page/lib/poll";

/** What the gateway answers next, and what it was asked. The rest of the network is left out. */
let answer: (signal: AbortSignal) => Response | Promise<Response>;
let asked: Headers[];
let polled: Polled<{ n: number }> | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  vi.stubGlobal("fetch", async (_: string, init: RequestInit) => {
    asked.push(new Headers(init.headers));
    return answer(init.signal!);
  });
});

afterEach(() => {
  polled?.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  setHidden(false);
});

function setHidden(hidden: boolean) {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}

const fine = () => Response.json({ n: asked.length }, { headers: { etag: '"a"' } });
const lost = () => {
  throw new TypeError("no network");
};
const start = async () => {
  polled = poll<{ n: number }>(() => "/path", 1000);
  await vi.advanceTimersByTimeAsync(0);
  return polled;
};

it("asks again after each period, with the tag of what it has", async () => {
  answer = fine;
  const it = await start();
  expect(it.state.value).toBe("live");
  expect(asked[0]?.get("if-none-match")).toBeNull();
  await vi.advanceTimersByTimeAsync(1000);
  expect(asked[1]?.get("if-none-match")).toBe('"a"');
  answer = () => new Response(null, { status: 304 });
  await vi.advanceTimersByTimeAsync(1000);
  expect(it.data.value).toEqual({ n: 2 });
  expect(it.state.value).toBe("live");
});

it("is stale after three failures, keeps what it has, and recovers", async () => {
  answer = fine;
  const it = await start();
  const at = it.at.value;
  answer = lost;
  await vi.advanceTimersByTimeAsync(1000);
  expect(it.state.value).toBe("reconnecting");
  await vi.advanceTimersByTimeAsync(1000 + 2000);
  expect(it.state.value).toBe("stale");
  expect([it.data.value, it.at.value]).toEqual([{ n: 1 }, at]);
  answer = fine;
  await vi.advanceTimersByTimeAsync(4000);
  expect(it.state.value).toBe("live");
  expect(it.problem.value).toBeUndefined();
});

it("asks nothing while nobody looks, and at once when somebody does", async () => {
  answer = fine;
  const it = await start();
  setHidden(true);
  expect(it.state.value).toBe("paused");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
  setHidden(false);
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toHaveLength(2);
  expect(it.state.value).toBe("live");
});

it("does not ask again with a key that was refused", async () => {
  answer = () => Response.json({ code: "unauthorized", detail: "send a key" }, { status: 401 });
  const it = await start();
  expect(it.state.value).toBe("refused");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
});

it("waits while somebody holds on to what is shown, and asks at once afterwards", async () => {
  let isHeld = false;
  answer = () => Response.json({ n: asked.length });
  polled = poll<{ n: number }>(() => "/path", 1000, () => isHeld);
  await vi.advanceTimersByTimeAsync(0);
  isHeld = true;
  await vi.advanceTimersByTimeAsync(20_000);
  expect([asked.length, polled.state.value]).toEqual([1, "paused"]);
  isHeld = false;
  await vi.advanceTimersByTimeAsync(500);
  expect([asked.length, polled.state.value]).toEqual([2, "live"]);
});

/** Never answers, but ends when it is told to. */
const hang = (signal: AbortSignal) => new Promise<Response>((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));

it("counts a gateway that does not answer as one that fails, and recovers", async () => {
  answer = fine;
  const it = await start();
  answer = hang;
  await vi.advanceTimersByTimeAsync(1000 + 9000);
  expect([it.state.value, asked.length]).toEqual(["live", 2]);
  await vi.advanceTimersByTimeAsync(1000);
  expect([it.state.value, it.problem.value?.code]).toEqual(["reconnecting", "silent"]);
  await vi.advanceTimersByTimeAsync(1000 + 10_000 + 2000 + 10_000);
  expect([it.state.value, asked.length, it.data.value]).toEqual(["stale", 4, { n: 1 }]);
  answer = fine;
  await vi.advanceTimersByTimeAsync(4000);
  expect(it.state.value).toBe("live");
  await vi.advanceTimersByTimeAsync(500);
  it.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([it.state.value, asked.length]).toEqual(["live", 5]);
});
