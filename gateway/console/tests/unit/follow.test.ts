import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { follow } from "../../page/lib/follow";
import type { Polled } from "../../page/lib/fresh";

interface Told {
  n: number;
  isOver?: boolean;
}

/** The connections that were made, each written to as the gateway would. */
let connections: ReadableStreamDefaultController<Uint8Array>[];
let answer: (() => Response) | undefined;
let followed: Polled<Told> | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  connections = [];
  answer = undefined;
  vi.stubGlobal("fetch", async () => answer?.() ?? new Response(new ReadableStream({ start: (it) => void connections.push(it) })));
});

afterEach(() => {
  followed?.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const write = async (text: string) => {
  connections.at(-1)?.enqueue(new TextEncoder().encode(text));
  await vi.advanceTimersByTimeAsync(10);
};
const start = async () => {
  followed = follow<Told>("/path", (it) => it.isOver === true);
  await vi.advanceTimersByTimeAsync(10);
  return followed;
};

it("tells what came last, and asks no more once it is over", async () => {
  const { data, state } = await start();
  expect(state.value).toBe("connecting");
  await write('id: 1\nevent: ready\ndata: {"n":1}\n\nid: 2\nevent: leased\ndata: {"n"');
  expect([data.value, state.value]).toEqual([{ n: 1 }, "live"]);
  await write(':2,"isOver":true}\n\n');
  connections[0]?.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([data.value, connections.length]).toEqual([{ n: 2, isOver: true }, 1]);
});

it("connects again when the connection is lost, and says so meanwhile", async () => {
  const { data, state } = await start();
  await write('data: {"n":1}\n\n');
  connections[0]?.error(new Error("lost"));
  await vi.advanceTimersByTimeAsync(10);
  expect([data.value, state.value]).toEqual([{ n: 1 }, "reconnecting"]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(connections.length).toBe(2);
  await write(": keep-alive\n\n");
  expect([data.value, state.value]).toEqual([{ n: 1 }, "live"]);
});

it("gives up on what is not there, until it is asked again", async () => {
  answer = () => Response.json({ code: "no_job", detail: "there is no such job" }, { status: 404 });
  const { problem, state, again } = await start();
  expect([state.value, problem.value?.code]).toEqual(["refused", "no_job"]);
  answer = undefined;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(connections.length).toBe(0);
  again();
  await vi.advanceTimersByTimeAsync(10);
  await write('data: {"n":3}\n\n');
  expect(state.value).toBe("live");
});

it("gives up a connection without a sign of life, and makes another", async () => {
  const { state } = await start();
  await write('data: {"n":1}\n\n');
  for (let beats = 0; beats < 4; beats += 1) {
    await vi.advanceTimersByTimeAsync(15_000);
    await write(": keep-alive\n\n");
  }
  await vi.advanceTimersByTimeAsync(29_000);
  expect([state.value, connections.length]).toEqual(["live", 1]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(state.value).toBe("reconnecting");
  await vi.advanceTimersByTimeAsync(1000);
  await write('data: {"n":2}\n\n');
  expect([state.value, connections.length]).toEqual(["live", 2]);
});
