// Uses the TypeScript client as its README shows it, against the fleet named on the command line, and
// prints what came of it as JSON.
import { Flotilla, FlotillaError, HybridExecutor, HybridSolVMExecutor } from "./flotilla.mjs";

const url = process.argv[2];
const apiKey = "submit-0123456789";
const told = {};

const fleet = new Flotilla({ url, apiKey, retryDelay: 50 });
const job = await fleet.submit({ language: "python", code: "print(6 * 7)" });
const states = [];
for await (const event of fleet.follow(job.id)) states.push(event.state);
told.last = states.at(-1);
told.output = (await fleet.wait(job.id, 60)).result.output;
told.now = (await fleet.execute({ language: "python", code: "print('now')" })).output;

const long = await fleet.submit({ language: "python", code: "import time\ntime.sleep(50)" });
await fleet.cancel(long.id);
told.cancelled = (await fleet.wait(long.id, 30)).state;

// A stream that breaks after its first event is taken up again where it was.
const real = globalThis.fetch;
const seen = [];
globalThis.fetch = async (input, init) => {
  const answer = await real(input, init);
  if (!String(input).endsWith("/events")) return answer;
  seen.push(init.headers["last-event-id"] ?? null);
  if (seen.length > 1) return answer;
  const reader = answer.body.getReader();
  const { value } = await reader.read();
  let pulls = 0;
  const broken = new ReadableStream({
    pull(controller) {
      pulls += 1;
      if (pulls === 1) controller.enqueue(value);
      else controller.error(new TypeError("the connection broke"));
    },
    cancel: () => reader.cancel(),
  });
  return new Response(broken, { headers: answer.headers });
};
const slow = await fleet.submit({ language: "python", code: "import time\ntime.sleep(6)" });
const ids = [];
for await (const event of fleet.follow(slow.id)) ids.push(Number(event.id));
globalThis.fetch = real;
told.resumed = seen.length > 1 && seen[0] === null && ids.includes(Number(seen[1]));
told.inOrder = ids.every((id, at) => at === 0 || id > ids[at - 1]);

const refused = await fleet.submit({ language: "cobol", code: "1" }).catch((error) => error);
told.refused = refused instanceof FlotillaError ? [refused.status, refused.code] : String(refused);
const stopped = await fleet.wait(long.id, 30, AbortSignal.abort()).catch((error) => error);
told.stopped = stopped.name;

// An answer to `cancel` that is lost is no error; cancelling what is over is one.
const waiting = await fleet.submit({ language: "python", code: "1", runAt: new Date(Date.now() + 3.6e6).toISOString() });
let losses = 1;
globalThis.fetch = async (input, init) => {
  const answer = await real(input, init);
  if (init.method === "DELETE" && losses-- > 0) throw new TypeError("the connection broke");
  return answer;
};
const called = await fleet.cancel(waiting.id);
globalThis.fetch = real;
told.lost = [called.state, typeof called.finishedAt];
const over = await fleet.cancel(waiting.id).catch((error) => error);
told.over = [over.status, over.isRepeated];

told.alias = HybridSolVMExecutor === HybridExecutor;
const executor = new HybridSolVMExecutor({
  taskQueueUrl: `${url}/dialects/message-queue/tasks`,
  resultQueueUrl: `${url}/dialects/message-queue/results`,
  apiKey,
  maxRetries: 3,
  retryDelay: 2000,
  pollInterval: 100,
});
const result = await executor.executeCode('print("Hello from SOL VM")', 30);
told.hybrid = [result.status, result.success, result.output];
const failed = await executor.executeCode("raise SystemExit(3)", 30);
told.failed = [failed.success, failed.exit_code];

// A gateway that is away for a moment is asked again, and the task is still one.
let failures = 2;
globalThis.fetch = async (input, init) => {
  const answer = await real(input, init);
  if (init.method === "POST" && failures-- > 0) throw new TypeError("the connection broke");
  return answer;
};
const again = new HybridExecutor({ ...executor.settings, retryDelay: 50 });
told.again = (await again.executeCode("print('once')", 30)).output;
console.log(JSON.stringify(told));
