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

it("holds on to no run of a room but the one that is shown", () => {
  const alpha = { id: "alpha", aliases: [], entry: "main.a", example: "first();", available: true, features: [] } as unknown as Language;
  languages.value = [alpha];
  const doc = new Y.Doc();
  begin(doc, alpha);
  const room = {
    id: "room_1",
    doc,
    runs: signal([]),
    meta: signal({ language: "alpha", version: undefined, args: "" }),
    mayRun: signal(true),
    isThere: signal(true),
    presence: { name: signal("Ann"), runs() {} },
    connection: { state: signal("live") },
  };
  const runs = new Runs(room as unknown as Room);
  for (let at = 0; at < 5; at += 1) runs.begin();
  expect([count, [...held]]).toEqual([5, [5]]);
  runs.close();
  expect([...held]).toEqual([]);
});
