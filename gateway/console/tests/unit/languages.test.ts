import { signal } from "@preact/signals";
import { h, render } from "preact";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import * as Y from "yjs";

import type { SharedFile } from "../../page/rooms/document";
import { languages, useLanguages } from "../../page/rooms/languages";
import type { Room } from "../../page/rooms/room";
import { Source } from "../../page/rooms/source";

/** What the editor was made to show. */
const shown: unknown[] = [];

vi.mock("../../page/play/editor", () => ({
  open: () => ({ show: (...all: unknown[]) => shown.push(all[3]), close() {} }),
}));
vi.mock("../../page/rooms/sharing", () => ({
  SharedFiles: class {
    sharing() {}
    keep() {}
  },
}));

let available: boolean;
let asked: number;

beforeEach(() => {
  vi.useFakeTimers();
  shown.length = asked = 0;
  available = false;
  languages.value = undefined;
  vi.stubGlobal("fetch", async () => {
    asked += 1;
    return Response.json({ languages: [{ id: "alpha", syntax: { keywords: ["if"] }, available }] });
  });
});

afterEach(() => {
  render(null, document.body);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

it("are looked for soon while none can be run, and later as executors come and go", async () => {
  const Looking = () => {
    useLanguages();
    return h("p", null, String(languages.value?.[0]?.available));
  };
  render(h(Looking, null), document.body);
  await pass(7000);
  expect([asked, document.body.textContent]).toEqual([3, "false"]);
  available = true;
  await pass(3000);
  expect([asked, document.body.textContent]).toEqual([4, "true"]);
  available = false;
  await pass(29_000);
  expect(asked).toBe(4);
  await pass(2000);
  expect([asked, document.body.textContent]).toEqual([5, "false"]);
  render(null, document.body);
  await pass(60_000);
  expect(asked).toBe(5);
});

it("leave the editor alone when they are told again", async () => {
  const file: SharedFile = { id: "main", path: "main.a", text: new Y.Doc().getText() };
  const room = {
    meta: signal({ language: "alpha" }),
    mayEdit: signal(true),
    mayRun: signal(true),
    role: signal("owner"),
    files: signal([file]),
    connection: { state: signal("live") },
  } as unknown as Room;
  const editor = { current: undefined };
  const Page = () => {
    useLanguages();
    return h(Source, { room, file, editor });
  };
  render(h(Page, null), document.body);
  await pass(20_000);
  // First without, as it is not known yet.
  expect([asked, shown]).toEqual([7, [undefined, { keywords: ["if"] }]]);
});
