import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";

import { Problem } from "../../page/lib/api";
import { Connection } from "../../page/rooms/connection";

/** A socket that does what a test says. */
class Socket {
  static all: Socket[] = [];
  static readonly OPEN = 1;
  readonly OPEN = 1;
  readyState = 0;
  binaryType = "";
  onopen?: () => void;
  onmessage?: (event: { data: ArrayBuffer }) => void;
  onclose?: (event: { code: number; reason: string }) => void;

  constructor(readonly url: string) {
    Socket.all.push(this);
  }

  readonly sent: number[][] = [];

  send(data: Uint8Array): void {
    this.sent.push([...data]);
  }
  close(): void {}

  open(): void {
    this.readyState = 1;
    this.onopen?.();
    // The gateway has nothing that the page lacks: an empty second step of the sync protocol.
    this.say(0, 1, 2, 0, 0);
  }

  say(...bytes: number[]): void {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer });
  }

  end(code: number): void {
    this.onclose?.({ code, reason: "" });
  }
}

const last = (): Socket => Socket.all.at(-1) as Socket;
const ticketOf = (socket: Socket) => new URL(socket.url).searchParams.get("ticket");
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

let count = 0;
let refusal: unknown;
let told: string[];
let connection: Connection;

beforeEach(async () => {
  vi.useFakeTimers();
  Socket.all = [];
  count = 0;
  refusal = undefined;
  const doc = new Y.Doc();
  const entrance = {
    async ticket() {
      if (refusal) throw refusal;
      return `ticket-${(count += 1)}`;
    },
    probe: async () => undefined,
  };
  vi.stubGlobal("WebSocket", Socket);
  told = [];
  connection = new Connection("room_1", doc, new Awareness(doc), entrance, {
    onSync: () => told.push("sync"),
    onTold: (vector) => told.push(`told ${vector}`),
    onSettled: () => told.push("settled"),
  });
  await pass(0);
});

afterEach(() => {
  connection.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("the way into a room", () => {
  it("takes a ticket, and is live once all is there", () => {
    expect(ticketOf(last())).toBe("ticket-1");
    expect(new URL(last().url).pathname).toBe("/collab/room_1");
    expect(connection.state.value).toBe("connecting");
    last().open();
    expect(connection.state.value).toBe("live");
  });

  it("knows that the gateway took what is here once it answers what it was asked after that", async () => {
    last().open();
    last().say(0, 0, 1, 0);
    await pass(0);
    // Its own answer went before the second question.
    expect(last().sent.slice(-2).map((it) => it.slice(0, 2))).toEqual([[0, 1], [0, 0]]);
    await pass(60_000);
    expect(told).toEqual(["sync", "told 0"]);
    last().say(0, 1, 2, 0, 0);
    await pass(15_000);
    expect(told).toEqual(["sync", "told 0", "settled"]);
  });

  it("settles nothing that is lost before it was taken, or soon after", async () => {
    for (const answers of [0, 1]) {
      last().open();
      last().say(0, 0, 1, 0);
      await pass(0);
      for (let at = 0; at < answers; at += 1) last().say(0, 1, 2, 0, 0);
      await pass(5000);
      last().end(1006);
      await pass(1000);
    }
    await pass(60_000);
    expect(told).not.toContain("settled");
  });

  it("is live again after a full store only when that lasts, and is tried again less and less often", async () => {
    for (let at = 0; at < 4; at += 1) {
      last().open();
      last().say(0, 0, 1, 0);
      await pass(0);
      last().say(0, 1, 2, 0, 0);
      await pass(2000);
      expect(connection.state.value === "live").toBe(at === 0);
      last().end(4507);
      expect([connection.isStoreFull.value, connection.ending.value]).toEqual([true, undefined]);
      await pass(at < 3 ? 6500 : 1000);
    }
    expect(Socket.all).toHaveLength(4);
    await pass(6000);
    last().open();
    last().say(0, 0, 1, 0);
    await pass(0);
    last().say(0, 1, 2, 0, 0);
    await pass(15_000);
    expect([connection.isStoreFull.value, connection.state.value, told.at(-1)]).toEqual([false, "live", "settled"]);
  });

  it("is live again after a full store also for whoever only looks", async () => {
    last().open();
    last().end(4507);
    await pass(1000);
    last().open();
    await pass(5000);
    expect(connection.state.value).toBe("reconnecting");
    await pass(10_000);
    expect([connection.isStoreFull.value, connection.state.value, told]).toEqual([false, "live", ["sync", "sync"]]);
  });

  it.each([1006, 4500, 4503, 4529, 4531])("is taken again after %s, each time with another ticket", async (code) => {
    last().open();
    last().end(code);
    expect(connection.state.value).toBe("reconnecting");
    await pass(1000);
    expect(Socket.all.map(ticketOf)).toEqual(["ticket-1", "ticket-2"]);
    last().open();
    expect(connection.state.value).toBe("live");
    expect(connection.hint.value).toBeUndefined();
  });

  it.each([4400, 4401, 4403, 4404, 4410, 4413])("ends for good with %s, and says why", async (code) => {
    last().open();
    last().end(code);
    expect(connection.state.value).toBe("ended");
    expect(connection.ending.value?.title).toBeTruthy();
    await pass(60_000);
    expect(Socket.all).toHaveLength(1);
    connection.enter();
    await pass(0);
    expect(Socket.all.map(ticketOf)).toEqual(["ticket-1", "ticket-2"]);
    expect(connection.ending.value).toBeUndefined();
  });

  it("is offline after some attempts, and goes on", async () => {
    last().open();
    last().end(1006);
    refusal = new Problem(0, "unreachable", "nobody");
    await pass(10_000);
    expect(connection.state.value).toBe("offline");
    refusal = undefined;
    await pass(10_000);
    last().open();
    expect(connection.state.value).toBe("live");
  });

  it("is not tried again before the gateway wants it", async () => {
    last().open();
    refusal = new Problem(429, "rate_limited", "too much", "", [], 30);
    last().end(1006);
    await pass(2000);
    refusal = undefined;
    await pass(20_000);
    expect(Socket.all).toHaveLength(1);
    await pass(15_000);
    expect(Socket.all).toHaveLength(2);
  });

  it.each([
    [401, "invitation_wrong", "This invitation is not good any more"],
    [403, "forbidden", "This page may not enter the room"],
    [404, "no_room", "There is no such room"],
    [401, "unauthorized", undefined],
  ])("ends when no ticket is given for %s %s", async (status, code, title) => {
    last().open();
    refusal = new Problem(status, code, "because");
    last().end(1006);
    await pass(2000);
    expect(connection.state.value).toBe("ended");
    expect(connection.ending.value?.title).toBe(title);
  });

  it("is left when the page is, whatever is under way", async () => {
    last().open();
    last().end(1006);
    connection.close();
    await pass(60_000);
    expect(Socket.all).toHaveLength(1);
  });
});
