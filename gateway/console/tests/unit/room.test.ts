import { afterEach, beforeEach, expect, it, vi } from "vitest";
import * as Y from "yjs";

import { begin, filesOf } from "../../page/rooms/document";
import type { Language } from "../../page/play/program";
import { Room } from "../../page/rooms/room";
import { frame, read } from "../../page/rooms/wire";

/** What the gateway has, and whether it takes what it is sent. */
let gateway: Y.Doc;
let isDeaf: boolean;
let isOnline: boolean;
let sockets: GatewaySocket[];

/** A connection to it, which answers as the gateway does. */
class GatewaySocket {
  static readonly OPEN = 1;
  readonly OPEN = 1;
  readyState = 0;
  onopen?: () => void;
  onmessage?: (event: { data: ArrayBuffer }) => void;
  onclose?: (event: { code: number }) => void;

  constructor() {
    sockets.push(this);
    setTimeout(() => {
      if (!isOnline) return this.onclose?.({ code: 1006 });
      this.readyState = 1;
      this.onopen?.();
      this.#say({ kind: "step1", body: Y.encodeStateVector(gateway) });
    });
  }

  send(data: Uint8Array): void {
    const said = read(data);
    if (!said || isDeaf) return;
    if (said.kind === "step1") this.#say({ kind: "step2", body: Y.encodeStateAsUpdate(gateway, said.body) });
    else Y.applyUpdate(gateway, said.body);
  }

  close(): void {}

  cut(): void {
    this.onclose?.({ code: 1006 });
  }

  #say(said: Parameters<typeof frame>[0]): void {
    setTimeout(() => this.onmessage?.({ data: frame(said).buffer }));
  }
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const text = (doc: Y.Doc) => filesOf(doc)[0]?.text.toString();
const kept = () => Object.keys(localStorage).filter((it) => it.includes(".unsent."));

let room: Room;

beforeEach(async () => {
  vi.useFakeTimers();
  localStorage.clear();
  [sockets, isDeaf, isOnline] = [[], false, true];
  gateway = new Y.Doc();
  begin(gateway, { id: "alpha", entry: "main.a", example: "first();" } as Language);
  vi.stubGlobal("WebSocket", GatewaySocket);
  vi.stubGlobal("fetch", async (path: string) => {
    if (!isOnline) throw new TypeError("no network");
    return Response.json(path.endsWith("/tickets") ? { ticket: "t", role: "editor" } : { id: "room_1", title: "", role: "editor" });
  });
  room = new Room("room_1");
  await pass(20_000);
  expect(text(room.doc)).toBe("first();\n");
});

afterEach(() => {
  room.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Writes while the network is gone. */
async function writeOffline(what: string) {
  isOnline = false;
  sockets.at(-1)?.cut();
  await pass(10_000);
  filesOf(room.doc)[0]?.text.insert(0, what);
  await pass(1000);
  isOnline = true;
}

it("keeps what was written offline until the gateway took it, also if the way is lost between", async () => {
  await writeOffline("kept ");
  // The gateway's document comes, and then it is killed with what it heard of ours.
  const before = gateway;
  gateway = new Y.Doc();
  Y.applyUpdate(gateway, Y.encodeStateAsUpdate(before));
  // The longest break is 6250 ms.
  await pass(6500);
  expect(text(gateway)).toBe("kept first();\n");
  gateway = before;
  isOnline = false;
  sockets.at(-1)?.cut();
  await pass(1000);
  room.close();
  expect(kept().length).toBeGreaterThan(0);

  isOnline = true;
  room = new Room("room_1");
  await pass(3000);
  expect(text(gateway)).toBe("kept first();\n");
  await pass(15_000);
  expect(kept()).toEqual([]);
});

it("keeps what was written live and may not have arrived", async () => {
  isDeaf = true;
  filesOf(room.doc)[0]?.text.insert(0, "live ");
  await pass(1000);
  isOnline = false;
  sockets.at(-1)?.cut();
  await pass(1000);
  room.close();
  [isDeaf, isOnline] = [false, true];
  room = new Room("room_1");
  await pass(3000);
  expect(text(gateway)).toBe("live first();\n");
});

it("does not forget what is kept because the gateway's document came", async () => {
  await writeOffline("kept ");
  expect(kept()).toHaveLength(1);
  await pass(6500);
  expect(room.connection.state.value).toBe("live");
  expect(kept()).toHaveLength(1);
  await pass(15_000);
  expect(kept()).toEqual([]);
});

it("reads what it writes of the protocol, and nothing else", () => {
  for (const length of [0, 1, 127, 128, 20_000]) {
    const body = new Uint8Array(length).fill(7);
    expect(read(frame({ kind: "update", body }))).toEqual({ kind: "update", body });
  }
  for (const other of [[], [0], [1, 0, 0], [0, 3, 0], [0, 1, 5, 1], [0, 1, 0x80]]) expect(read(new Uint8Array(other))).toBeUndefined();
});
