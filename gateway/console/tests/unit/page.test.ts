import { describe, expect, it } from "vitest";

import { decadesOf } from "../../page/fleet/plot";
import { Asked, beatOf, type Fleet, filled, news, ordered, withPoints } from "../../page/fleet/report";
import { age, bytes, duration, percent } from "../../page/lib/format";
import { pause } from "../../page/lib/fresh";
import { here, learn, now } from "../../page/lib/time";
import { match } from "../../page/shell/router";

describe("numbers for people", () => {
  it.each([
    [0.01, "0 ms"],
    [3.14, "3.1 ms"],
    [999, "999 ms"],
    [1234, "1.23 s"],
    [90_000, "1.5 min"],
    [undefined, "–"],
  ])("%s ms is %s", (ms, text) => expect(duration(ms)).toBe(text));

  it.each([
    [5, "5 s"],
    [65, "1 min 5 s"],
    [86_400 * 12, "12 d"],
    [0, "0 s"],
  ])("%s s is %s", (seconds, text) => expect(age(seconds)).toBe(text));

  it("tells bytes", () => expect([bytes(12), bytes(8 << 20), bytes(130 << 20)]).toEqual(["12 B", "8 MB", "130 MB"]));

  it("says 100 % only of all", () => {
    expect(percent(9999, 10_000)).toBe("99.9 %");
    expect(percent(3, 3)).toBe("100 %");
    expect(percent(0, 0)).toBe("–");
  });
});

describe("the history", () => {
  it("has one step for each that the window has", () => {
    const point = { at: 1060, beats: { pass: 1, warn: 0, fail: 0 }, runs: 0 };
    const steps = filled({ from: 1000, stepSeconds: 60, window: "1h" }, [point]);
    expect(steps).toHaveLength(60);
    expect(steps[1]).toBe(point);
    expect(steps[0]).toBeUndefined();
  });

  it("is down where most probes failed, and wants a look where one did", () => {
    expect(beatOf({ pass: 0, warn: 0, fail: 0 })).toBeUndefined();
    expect(beatOf({ pass: 5, warn: 0, fail: 0 })).toBe("pass");
    expect(beatOf({ pass: 5, warn: 0, fail: 1 })).toBe("warn");
    expect(beatOf({ pass: 1, warn: 0, fail: 4 })).toBe("fail");
  });

  const report = (status: string, points?: number[], window = "1h") =>
    ({ window, executors: [{ label: "alpha-1", status, history: { points: points?.map((at) => ({ at })) } }] }) as unknown as Fleet;

  it("keeps its points while they are not told anew, for as long as they are of its window", () => {
    const before = report("pass", [1, 2]);
    expect(withPoints(report("pass"), before).executors[0]?.history.points).toHaveLength(2);
    expect(withPoints(report("pass", [3]), before).executors[0]?.history.points).toHaveLength(1);
    expect(withPoints(report("pass", undefined, "24h"), before).executors[0]?.history.points).toBeUndefined();
  });

  it("is asked for its points until they came, and then now and then", () => {
    const asked = new Asked("1h");
    const hasPoints = () => asked.path().includes("points=true");
    expect([hasPoints(), hasPoints()]).toEqual([true, true]);
    asked.take(report("pass", [1]));
    expect(Array.from({ length: 6 }, hasPoints)).toEqual([false, false, false, false, true, true]);
    asked.take(report("pass", [1]));
    expect(hasPoints()).toBe(false);
    // What was on its way for another window does not count.
    asked.look("24h");
    asked.take(report("pass", [1]));
    expect(asked.path()).toBe("/v1/fleet?window=24h&points=true");
    asked.take(report("pass", undefined, "24h"));
    expect(hasPoints()).toBe(true);
    asked.take(report("pass", [1], "24h"));
    expect(hasPoints()).toBe(false);
  });

  it("lists executors by name, and by number within one", () => {
    const labels = ["javascript-1", "java-10", "java-2", "c-1", "typescript-1"];
    expect(ordered(labels.map((label) => ({ label }))).map((it) => it.label)).toEqual(["c-1", "java-2", "java-10", "javascript-1", "typescript-1"]);
  });

  it("tells who went down and who came back, once", () => {
    expect(news(report("fail"), report("pass"))).toEqual(["alpha-1 is down"]);
    expect(news(report("warn"), report("fail"))).toEqual(["alpha-1 is up"]);
    expect(news(report("fail"), report("fail"))).toEqual([]);
    expect(news(report("fail"), undefined)).toEqual([]);
  });

  it("has a scale of powers of ten", () => {
    expect(decadesOf([3, 250])).toEqual([1, 10, 100, 1000]);
    expect(decadesOf([10, 10])).toEqual([10, 100]);
    expect(decadesOf([])).toEqual([1, 10]);
  });
});

it("goes by the gateway's clock where this one is wrong, and otherwise by this one", () => {
  const aheadMs = () => Math.round((now() - Date.now()) / 100) * 100;
  const date = (time: number) => new Date(time).toUTCString();
  const at = Date.parse("2026-11-30T12:00:00Z");
  learn(date(at), at + 200, at + 400);
  learn(null, 0, 0);
  learn("soon", 0, 0);
  expect(aheadMs()).toBe(0);
  learn(date(at), at - 300_000, at - 299_900);
  expect(aheadMs()).toBe(299_900);
  expect(here(at)).toBe(at - 299_900);
  // An answer that agrees with what is known changes nothing, and one that was long on its way says little.
  learn(date(at), at - 299_700, at - 299_600);
  learn(date(at), at - 400_000, at - 100_000);
  expect(aheadMs()).toBe(299_900);
  learn(date(at), at + 100, at + 500);
  expect(aheadMs()).toBe(1900);
});

it("asks less often while nothing answers, and never sooner than it was told", () => {
  expect([1, 2, 3, 20].map((it) => pause(2000, it))).toEqual([2000, 4000, 8000, 15_000]);
  expect(pause(2000, 1, 30)).toBe(30_000);
});

it("knows a place by its path", () => {
  expect(match("/", "/")).toEqual({});
  expect(match("/jobs/:id", "/jobs/a%20b")).toEqual({ id: "a b" });
  expect(match("/jobs/:id", "/jobs")).toBeUndefined();
  expect(match("/jobs/:id", "/jobs/%E0%A4%A")).toBeUndefined();
});
