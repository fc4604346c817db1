import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { attach, type RunEvent, type Running, start } from "../../page/run/run";
import { watch } from "../../page/run/watch";
import { Gateway } from "./gateway";

const BEGUN = { id: "run_1", ticket: "t", interactive: true, tty: false, lastSeq: 1 };

let gateway: Gateway;
let events: RunEvent[];
let answers: { method: string; path: string; status: number; body: unknown; headers?: Record<string, string> }[];
let running: Running | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  // The clock of its own timers is not the tests'.
  vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    const late = new AbortController();
    setTimeout(() => late.abort(new DOMException("late", "TimeoutError")), ms);
    return late.signal;
  });
  gateway = new Gateway();
  events = [];
  answers = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const method = init.method ?? "GET";
    const at = answers.findIndex((it) => it.method === method && path.startsWith(it.path));
    if (at < 0) throw new TypeError("no network");
    const [{ status, body, headers = {} }] = answers.splice(at, 1) as [(typeof answers)[0]];
    return Response.json(body, { status, headers });
  });
});

afterEach(() => {
  running?.detach();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const tell = (event: RunEvent) => void events.push(event);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const kinds = () => events.map((it) => it.type);
const output = () => events.map((it) => (it.type === "stdout" ? it.data : "")).join("");
const report = { status: "success" };

async function begin(tty = false): Promise<Running> {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: { ...BEGUN, tty } });
  running = start({}, tell, { open: gateway.open });
  await pass(50);
  return running;
}

it("tells a run from its beginning to its end, and nothing after it", async () => {
  const run = await begin();
  gateway.add({ t: "queued" });
  gateway.add({ t: "stage", stage: "run" });
  gateway.write("out");
  gateway.add({ t: "stderr", b64: "/w==" });
  gateway.add({ t: "stdin", data: "x", by: "ann" });
  gateway.add({ t: "exit", report });
  gateway.write("never");
  await pass(50);
  expect(run.id).toBe("run_1");
  expect(kinds()).toEqual(["begun", "connection", "queued", "stage", "stdout", "stderr", "stdin", "exit"]);
  expect(events[5]).toMatchObject({ data: "\ufffd" });
  expect(events[6]).toMatchObject({ data: "x", by: "ann" });
  expect(gateway.socket.readyState).toBe(3);
});

it("closes a connection only once it is there", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: { ...BEGUN, tty: false } });
  running = start({}, tell, { open: gateway.open });
  await pass(0);
  const socket = gateway.socket;
  expect(socket.readyState).toBe(socket.CONNECTING);
  running.detach();
  expect(socket.readyState).toBe(socket.CONNECTING);
  await pass(50);
  expect(socket.readyState).toBe(3);
  expect(kinds()).not.toContain("connection");
});

it("keeps what the compiler finds apart from what is written", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: BEGUN });
  const watched = watch((tell) => (running = start({}, tell, { open: gateway.open })));
  await pass(50);
  const place = { message: "odd", line: 2, column: 5 };
  gateway.add({ t: "stage", stage: "compile" });
  gateway.add({ t: "diagnostic", severity: "error", ...place, code: "E1", file: "main.rs" });
  gateway.add({ t: "diagnostic", severity: "warning", ...place });
  gateway.add({ t: "stderr", data: "main.rs:2:5: odd" });
  await pass(50);
  expect(watched.complaints.value).toEqual({ errors: [{ ...place, code: "E1", file: "main.rs" }], warnings: [place] });
  expect(watched.stage.value).toBe("compile");
  expect(watched.outcome.value).toBeUndefined();
});

it("tells what a run has taken so far, which is no answer to what is typed", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: BEGUN });
  const watched = watch((tell) => (running = start({}, tell, { open: gateway.open })));
  await pass(50);
  gateway.isFull = true;
  running?.input("a");
  await pass(50);
  gateway.isFull = false;
  gateway.socket.tell({ t: "stats", executionTime: 1.5, cpuTime: 1, memoryUsed: 4096, processes: 1 });
  await pass(50);
  expect([watched.spent.value, gateway.typed]).toEqual([{ type: "spent", seconds: 1.5, bytes: 4096 }, ""]);
  gateway.makeRoom();
  gateway.add({ t: "stage", stage: "run" });
  await pass(50);
  expect([watched.spent.value, gateway.typed]).toEqual([undefined, "a"]);
});

it("tells our own fault as such", async () => {
  await begin();
  gateway.add({ t: "exit", report: null, problem: { status: 502, code: "executor_lost", detail: "gone", requestId: "r" } });
  await pass(50);
  expect(events.at(-1)).toMatchObject({ type: "fault", problem: { status: 502, message: "gone", requestId: "r" } });
});

it("tells why a run is refused", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 422, body: { code: "invalid", detail: "no", errors: [{ pointer: "/args", detail: "too many" }] } });
  running = start({}, tell, { open: gateway.open });
  await pass(50);
  expect(kinds()).toEqual(["fault"]);
  expect(events[0]).toMatchObject({ problem: { status: 422, lines: ["too many"] } });
});

it("goes on behind the last event when the connection is lost, and says so meanwhile", async () => {
  await begin();
  gateway.write("a");
  await pass(50);
  gateway.cut();
  gateway.write("b");
  expect(events.at(-1)).toEqual({ type: "connection", isOpen: false });
  await pass(1000);
  expect(gateway.sockets).toHaveLength(2);
  expect(gateway.socket.address.searchParams.get("since")).toBe("1");
  expect(output()).toBe("ab");
  expect(kinds().filter((it) => it === "connection")).toHaveLength(3);
});

it("drops what comes twice, and comes back for what is missing", async () => {
  await begin();
  gateway.write("a");
  await pass(50);
  gateway.socket.tell({ seq: 1, t: "stdout", data: "a" });
  gateway.socket.tell({ seq: 3, t: "stdout", data: "c" });
  gateway.write("b");
  gateway.write("c");
  await pass(1000);
  expect(output()).toBe("abc");
});

it("takes longer breaks while nobody answers, and hurries when the network is back", async () => {
  await begin();
  gateway.isOnline = false;
  gateway.cut();
  await pass(60_000);
  const tries = gateway.sockets.length;
  expect(tries).toBeGreaterThan(8);
  expect(tries).toBeLessThan(25);
  gateway.isOnline = true;
  dispatchEvent(new Event("online"));
  await pass(50);
  expect(events.at(-1)).toEqual({ type: "connection", isOpen: true });
});

it("gives up a connection through which nothing comes any more", async () => {
  await begin();
  gateway.socket.dispatchEvent = () => true;
  await pass(30_000);
  expect(gateway.sockets).toHaveLength(2);
});

it.each([
  [4404, "no_run"],
  [4401, "closed"],
  [4403, "closed"],
])("does not come back after %i", async (code, name) => {
  await begin();
  gateway.cut(code, "why");
  await pass(60_000);
  expect(gateway.sockets).toHaveLength(1);
  expect(events.at(-1)).toMatchObject({ type: "fault", problem: { code: name } });
});

it("says that what let a viewer in may have been withdrawn", async () => {
  await begin();
  gateway.cut(4401, "open it with one of the run's tickets, or an API key");
  expect(events.at(-1)).toMatchObject({ type: "fault", problem: { message: expect.stringMatching(/invitation .* withdrawn/) } });
});

it.each([4500, 4503, 4529, 4531, 1000])("comes back after %i", async (code) => {
  await begin();
  gateway.cut(code);
  await pass(1000);
  expect(gateway.sockets).toHaveLength(2);
});

it("takes longer breaks while it is let in and refused then, and says why", async () => {
  gateway.refusal = { code: 4531, reason: "too many look at this run already" };
  const watched = watch((tell) => (running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell)));
  answers.push({ method: "GET", path: "/v1/runs/run_1", status: 200, body: BEGUN });
  await pass(1100);
  running?.signal("INT");
  await pass(60_000);
  expect(gateway.sockets.length).toBeGreaterThan(8);
  expect(gateway.sockets.length).toBeLessThan(25);
  expect([watched.isConnected.value, watched.lostFor.value]).toEqual([false, "Too many look at this run already."]);
  gateway.refusal = undefined;
  // The longest break is 6250 ms.
  await pass(6500);
  expect([watched.isConnected.value, watched.lostFor.value, gateway.signals]).toEqual([true, undefined, ["INT"]]);
});

it("types once whatever becomes of the connection, and in order", async () => {
  // A reproducible mess: 40 rounds of typing, writing and cutting at odd moments.
  let state = 7;
  const random = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below;
  const run = await begin();
  let typed = "";
  let written = "";
  for (let round = 0; round < 40; round += 1) {
    const text = `${round}ä🎈`.repeat(1 + random(3));
    typed += text;
    run.input(text);
    written += `${round},`;
    gateway.write(`${round},`);
    await pass(random(25));
    if (random(2)) gateway.cut();
    await pass(random(400));
  }
  run.eof();
  await pass(10_000);
  expect(gateway.typed).toBe(typed);
  expect(output()).toBe(written);
  expect(gateway.ends).toBe(1);
  expect(gateway.sockets.length).toBeGreaterThan(10);
});

it("types more at once than a message holds, without half a character", async () => {
  const run = await begin();
  const text = `a${"🎈".repeat(40_000)}`;
  run.input(text);
  await pass(5000);
  expect(gateway.typed).toBe(text);
});

it("sends no half of a character: it waits for the other one, or stands for what it may have been", async () => {
  const run = await begin();
  run.input("a\ud83c");
  await pass(100);
  expect(gateway.typed).toBe("a");
  run.input("\udf88b\ud83c");
  await pass(100);
  expect(gateway.typed).toBe("a🎈b");
  run.input("c\udf88");
  await pass(100);
  expect(gateway.typed).toBe("a🎈b\ufffdc\ufffd");
  run.input("\ud83c");
  run.eof();
  await pass(100);
  expect([gateway.typed, gateway.ends]).toEqual(["a🎈b\ufffdc\ufffd\ufffd", 1]);
});

it("goes on after what was refused", async () => {
  const run = await begin();
  run.input("a");
  await pass(100);
  run.input("refused");
  await pass(5);
  run.input("b");
  run.eof();
  await pass(200);
  expect([gateway.typed, gateway.ends, kinds().filter((it) => it === "refused")]).toEqual(["ab", 1, ["refused"]]);
});

it("goes on from what the gateway has where something is missing", async () => {
  const run = await begin();
  run.input("abc");
  await pass(100);
  gateway.lose(1);
  run.input("d");
  await pass(100);
  run.input("e");
  await pass(100);
  expect(gateway.typed).toBe("abde");
});

it("ends its input also where nobody says what is missing", async () => {
  const run = await begin();
  run.input("abc");
  await pass(100);
  gateway.lose(1);
  gateway.tellsGaps = false;
  run.input("d");
  run.eof();
  await pass(100);
  expect([gateway.typed, gateway.ends]).toEqual(["ab", 1]);
});

it("waits with its typing until there is room", async () => {
  const run = await begin();
  gateway.isFull = true;
  run.input("a");
  await pass(50);
  run.input("b");
  await pass(500);
  expect(gateway.typed).toBe("");
  gateway.makeRoom();
  await pass(100);
  expect(gateway.typed).toBe("ab");
});

it("says what it does not take, as too much waits already", async () => {
  const run = await begin();
  gateway.isFull = true;
  run.input("a".repeat(1 << 20));
  run.input("b".repeat(1 << 20));
  expect(events.at(-1)).toMatchObject({ type: "refused", code: "too_much" });
});

it("types before the run is known, and after a reload", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: BEGUN });
  running = start({}, tell, { open: gateway.open });
  running.input("early ");
  await pass(100);
  running.detach();
  answers.push({ method: "GET", path: "/v1/runs/run_1?ticket=t", status: 200, body: BEGUN });
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(50);
  running.input("late");
  await pass(100);
  expect(gateway.typed).toBe("early late");
});

it("asks again for a run while nobody answers", async () => {
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(3500);
  expect(new Set(kinds())).toEqual(new Set(["connection"]));
  answers.push({ method: "GET", path: "/v1/runs/run_1", status: 200, body: BEGUN });
  await pass(1100);
  expect(kinds().slice(-2)).toEqual(["begun", "connection"]);
  expect(events.at(-1)).toMatchObject({ isOpen: true });
});

it("asks again for a run that cannot be reached now, as late as it is told to", async () => {
  const path = "/v1/runs/run_1";
  answers.push(
    { method: "GET", path, status: 502, body: { code: "run_out_of_reach", detail: "its gateway cannot be reached" } },
    { method: "GET", path, status: 429, body: {}, headers: { "retry-after": "20" } },
    { method: "GET", path, status: 503, body: "no problem" },
    { method: "GET", path, status: 200, body: BEGUN },
  );
  const watched = watch((tell) => (running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell)));
  await pass(10);
  expect([watched.isConnected.value, watched.lostFor.value]).toEqual([false, "Its gateway cannot be reached."]);
  await pass(1000);
  expect(answers).toHaveLength(2);
  await pass(19_000);
  expect(answers).toHaveLength(2);
  await pass(1000 + 4000 + 50);
  expect([watched.isConnected.value, watched.lostFor.value, watched.begun.value?.id]).toEqual([true, undefined, "run_1"]);
});

it("gives up a run that cannot be reached for minutes", async () => {
  const refusal = { method: "GET", path: "/v1/runs/run_1", status: 502, body: { code: "run_out_of_reach", detail: "away" } };
  answers.push(...Array.from({ length: 100 }, () => refusal));
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(60_000);
  expect(new Set(kinds())).toEqual(new Set(["connection"]));
  await pass(120_000);
  expect([kinds().at(-1), answers.length]).toEqual(["fault", 88]);
});

it("stops without the pause that it was told to make", async () => {
  answers.push({ method: "GET", path: "/v1/runs/run_1", status: 429, body: {}, headers: { "retry-after": "60" } });
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(100);
  running.stop();
  await pass(5000);
  expect(events.at(-1)).toEqual({ type: "stopped" });
});

it("does not ask again for a run that is gone", async () => {
  answers.push({ method: "GET", path: "/v1/runs/run_1", status: 404, body: { code: "no_run", detail: "there is no such run" } });
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(3500);
  expect(kinds()).toEqual(["fault"]);
});

it("tells what was there before, and marks it", async () => {
  gateway.write("old");
  gateway.write("older");
  answers.push({ method: "GET", path: "/v1/runs/run_1", status: 200, body: { ...BEGUN, lastSeq: 2 } });
  running = attach({ id: "run_1", ticket: "t", open: gateway.open }, tell);
  await pass(50);
  gateway.write("new");
  await pass(50);
  expect(events.flatMap((it) => (it.type === "stdout" ? it.isPast : []))).toEqual([true, true, false]);
});

it("types once beside others who type, whatever becomes of the connection", async () => {
  const run = await begin();
  answers.push({ method: "GET", path: "/v1/runs/run_1?ticket=t", status: 200, body: BEGUN });
  const other = attach({ id: "run_1", ticket: "t", name: "ann", open: gateway.open }, () => {});
  await pass(50);
  for (let round = 0; round < 10; round += 1) {
    run.input(`a${round} `);
    other.input(`b${round} `);
    await pass(15);
    gateway.cut();
    await pass(2000);
  }
  const words = (of: string) => gateway.typed.split(" ").filter((it) => it.startsWith(of)).join(" ");
  const all = (of: string) => Array.from({ length: 10 }, (_, round) => `${of}${round}`).join(" ");
  expect([words("a"), words("b")]).toEqual([all("a"), all("b")]);
  expect(gateway.sockets.some((it) => it.address.searchParams.get("name") === "ann")).toBe(true);
  other.detach();
});

it("keeps nothing for an input that has ended", async () => {
  const run = await begin();
  run.eof();
  await pass(50);
  run.input("late");
  await pass(50);
  expect([gateway.typed, gateway.ends]).toEqual(["", 1]);
});

it("types the end of a terminal's input", async () => {
  const run = await begin(true);
  run.eof();
  run.input("on");
  await pass(100);
  expect([gateway.typed, gateway.ends]).toEqual(["\u0004on", 0]);
});

it("sends signals and the last size also after a break", async () => {
  const run = await begin();
  gateway.cut();
  run.signal("INT");
  run.resize(80, 24);
  run.resize(100, 30);
  await pass(1000);
  expect(gateway.signals).toEqual(["INT"]);
  expect(gateway.sizes).toEqual(["100x30"]);
});

it("stops a run, and tells its report", async () => {
  const run = await begin();
  answers.push({ method: "DELETE", path: "/v1/runs/run_1?ticket=t", status: 202, body: {} });
  run.stop();
  await pass(50);
  gateway.add({ t: "exit", report: { status: "cancelled" } });
  await pass(50);
  expect(events.at(-1)).toMatchObject({ type: "exit", report: { status: "cancelled" } });
  expect(answers).toEqual([]);
});

it("stops a run that is not known yet as soon as it is", async () => {
  answers.push({ method: "POST", path: "/v1/runs", status: 201, body: BEGUN }, { method: "DELETE", path: "/v1/runs/run_1", status: 202, body: {} });
  running = start({}, tell, { open: gateway.open });
  running.stop();
  await pass(50);
  expect(answers).toEqual([]);
});

it("does not wait for a gateway that is gone to stop a run", async () => {
  const run = await begin();
  gateway.isOnline = false;
  gateway.cut();
  run.stop();
  await pass(100);
  expect(events.at(-1)).toMatchObject({ type: "fault", problem: { status: 0 } });
});

it("stops waiting for a gateway that does not answer", async () => {
  const run = await begin();
  vi.stubGlobal("fetch", (_: string, { signal }: { signal: AbortSignal }) => new Promise((_, fail) => (signal.onabort = () => fail(signal.reason))));
  run.stop();
  await pass(6000);
  expect(events.at(-1)).toMatchObject({ type: "fault", problem: { status: 0, code: "silent" } });
});

it("hears no more after it is detached, and stops nothing", async () => {
  const run = await begin();
  run.detach();
  gateway.write("x");
  await pass(1000);
  expect(kinds()).toEqual(["begun", "connection"]);
  expect(gateway.sockets).toHaveLength(1);
});
