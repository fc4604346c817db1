import { signal } from "@preact/signals";
import { expect, it, vi } from "vitest";
import * as Y from "yjs";

import type { Language } from "../../page/play/program";
import { begin } from "../../page/rooms/document";
import { languages } from "../../page/rooms/languages";
import type { Room } from "../../page/rooms/room";
import { Runs } from "../../page/rooms/runs";

/** Runs that somebody is subscribed to. */
const held = new Set<number>();
let count = 0;

vi.mock("../../page/run/watch", () => ({
  watch() {
    const number = (count += 1);
    const watched = (value: unknown) => signal(value, { watched: () => held.add(number), unwatched: () => held.delete(number) });
    return { begun: watched({ id: `run_${number}` }), outcome: watched({ kind: "stopped" }), running: { detach() {} } };
  },
}));

/** A room, as far as its runs look at it. */
function lookedAt(doc = new Y.Doc()) {
  return {
    id: "room_1",
    doc,
    runs: signal([]),
    meta: signal({ language: "alpha", version: undefined, args: "" }),
    mayRun: signal(true),
    isThere: signal(true),
    presence: { name: signal("Ann"), runs() {} },
    connection: { state: signal("live") },
  };
}

it("holds on to no run of a room but the one that is shown", () => {
  const alpha = { id: "alpha", aliases: [], entry: "main.a", example: "first();", available: true, features: [] } as unknown as Language;
  languages.value = [alpha];
  const doc = new Y.Doc();
  begin(doc, alpha);
  const runs = new Runs(lookedAt(doc) as unknown as Room);
  for (let at = 0; at < 5; at += 1) runs.begin();
  expect([count, [...held]]).toEqual([5, [5]]);
  runs.close();
  expect([...held]).toEqual([]);
});

it("looks again for a run that cannot be reached now, and only for the last one", async () => {
  vi.useFakeTimers();
  const asked: string[] = [];
  let answer = () => Response.json({ code: "run_out_of_reach", detail: "its gateway cannot be reached" }, { status: 502 });
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path.slice(-1));
    return answer();
  });
  const runs = new Runs(lookedAt() as unknown as Room);
  void runs.look("a");
  await vi.advanceTimersByTimeAsync(1100);
  expect([runs.shown.value.fault, asked]).toEqual(["Its gateway cannot be reached.", ["a", "a"]]);
  answer = () => Response.json({ viewTicket: "t", createdAt: "2026-01-01T00:00:00Z" });
  void runs.look("b");
  await vi.advanceTimersByTimeAsync(60_000);
  expect([runs.shown.value, asked]).toMatchObject([{ id: "b", fault: undefined }, ["a", "a", "b"]]);
  answer = () => Response.json({ code: "no_run", detail: "there is no such run" }, { status: 404 });
  await runs.look("c");
  expect(runs.shown.value.fault).toMatch(/not kept any more/);
  runs.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});
