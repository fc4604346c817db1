// A client of Flotilla for browsers and Node, in one file and without dependencies: `Flotilla` speaks
// `/v1`, and `HybridExecutor` the message queue. Only syntax that can be erased is used, so that whatever
// strips types can run it.

/** A job, as `/v1/jobs` takes it; other fields of the description go along as they are. */
export type JobRequest = {
  language: string;
  code?: string;
  timeout?: number;
  priority?: number;
  idempotencyKey?: string;
  [field: string]: unknown;
};

/** What was told of a run. */
export type Report = {
  status: string;
  output: string;
  error: string;
  exitCode: number | null;
  executionTime: number;
  [field: string]: unknown;
};

/** A job, as `/v1/jobs/{id}` shows it. */
export type Job = {
  id: string;
  state: string;
  language: string;
  reason: string | null;
  version: number;
  /** RFC 3339. */
  finishedAt: string | null;
  result?: Report;
  [field: string]: unknown;
};

/** One change of a job. */
export type JobEvent = { id: string; state: string; job: Job };

/** How a `Flotilla` is reached. */
export type FlotillaSettings = {
  url: string;
  apiKey?: string;
  /** How often a request that came to nothing is sent again. */
  maxRetries?: number;
  /** Milliseconds between two of them. */
  retryDelay?: number;
  /** Milliseconds that one request may take. */
  requestTimeout?: number;
};

/** What the fleet refuses, or fails at, in its own words. */
export class FlotillaError extends Error {
  /** The HTTP status; 0 where nothing was answered. */
  status: number;
  /** The stable, machine-readable name. */
  code: string;
  /** Seconds after which another try is worth it, where that is known. */
  retryAfter: number | null;
  /** Whether the same request was sent before, and may have done what it asks for. */
  isRepeated = false;

  constructor(status: number, code: string, detail: string, retryAfter: number | null) {
    super(detail);
    this.name = "FlotillaError";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The longest that a server is let wait for an end in one request, in seconds. */
const WAIT_SECONDS = 30;
/** The longest event that is read, in characters. */
const EVENT_MAX = 64 * 1024 * 1024;
/** States that stay. */
const FINAL = ["succeeded", "cancelled", "expired", "dead"];

/** Waits, unless somebody calls it off. */
function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Either of two signals, in browsers that have no `AbortSignal.any` as well. */
function either(signal: AbortSignal | undefined, timeout: number): [AbortSignal, () => void] {
  const controller = new AbortController();
  const late = new FlotillaError(0, "timeout", `no answer within ${timeout} ms`, null);
  const timer = setTimeout(() => controller.abort(late), timeout);
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return [controller.signal, end];
}

/** The error that an answer is. */
async function refusal(answer: Response): Promise<FlotillaError> {
  const text = await answer.text();
  const after = Number(answer.headers.get("retry-after") ?? Number.NaN);
  const retryAfter = Number.isFinite(after) ? after : null;
  try {
    const problem = JSON.parse(text) as { code?: string; detail?: string; errors?: { pointer: string; detail: string }[] };
    const fields = (problem.errors ?? []).map((it) => `${it.pointer}: ${it.detail}`).join("; ");
    const detail = [problem.detail ?? answer.statusText, fields].filter((it) => it !== "").join(" (") + (fields === "" ? "" : ")");
    return new FlotillaError(answer.status, problem.code ?? "unknown", detail, retryAfter);
  } catch {
    return new FlotillaError(answer.status, "unknown", text.slice(0, 200), retryAfter);
  }
}

/** Whether the same request may fare better later. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof FlotillaError)) return error instanceof TypeError;
  return error.code === "timeout" || [408, 429, 502, 503, 504].includes(error.status);
}

/** Sends requests, and sends those again that may fare better. */
class Sender {
  apiKey: string | undefined;
  maxRetries: number;
  retryDelay: number;
  requestTimeout: number;

  constructor(settings: Omit<FlotillaSettings, "url">) {
    this.apiKey = settings.apiKey;
    this.maxRetries = settings.maxRetries ?? 3;
    this.retryDelay = settings.retryDelay ?? 2000;
    this.requestTimeout = settings.requestTimeout ?? 60_000;
  }

  headers(more: Record<string, string>): Record<string, string> {
    return this.apiKey === undefined ? more : { authorization: `Bearer ${this.apiKey}`, ...more };
  }

  /** The JSON that a request is answered with. Only what may be repeated without harm goes through here. */
  async send<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    for (let tries = 0; ; tries += 1) {
      const [both, end] = either(signal, this.requestTimeout);
      try {
        const content: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
        const answer = await fetch(url, {
          method,
          headers: this.headers(content),
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: both,
        });
        if (!answer.ok) throw await refusal(answer);
        return (await answer.json()) as T;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof FlotillaError) error.isRepeated = tries > 0;
        if (tries >= this.maxRetries || !mayPass(error)) throw error;
        const after = error instanceof FlotillaError ? error.retryAfter : null;
        await pause(Math.max(this.retryDelay, (after ?? 0) * 1000), signal);
      } finally {
        end();
      }
    }
  }
}

/** A fleet, over `/v1`. */
export class Flotilla {
  url: string;
  sender: Sender;

  constructor(settings: FlotillaSettings) {
    this.url = settings.url.replace(/\/+$/, "");
    this.sender = new Sender(settings);
  }

  /** Runs a program and waits for its report. It is sent once only: a repetition would run it again. */
  async execute(request: JobRequest, signal?: AbortSignal): Promise<Report> {
    const once = new Sender({ ...this.sender, maxRetries: 0, requestTimeout: 20 * 60_000 });
    return once.send<Report>("POST", `${this.url}/v1/execute`, request, signal);
  }

  /** Submits a job. It gets an idempotency key, so that it is one job however often it is sent. */
  async submit(request: JobRequest, signal?: AbortSignal): Promise<Job> {
    const keyed = { idempotencyKey: crypto.randomUUID(), ...request };
    return this.sender.send<Job>("POST", `${this.url}/v1/jobs`, keyed, signal);
  }

  /** A job as it is now. */
  async job(id: string, signal?: AbortSignal): Promise<Job> {
    return this.sender.send<Job>("GET", this.path(id), undefined, signal);
  }

  /** A job once it is over; an error with the code `timeout` if that takes longer than `seconds`. */
  async wait(id: string, seconds: number, signal?: AbortSignal): Promise<Job> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const left = Math.max(0, (end - Date.now()) / 1000);
      const wait = Math.min(left, WAIT_SECONDS).toFixed(3);
      const job = await this.sender.send<Job>("GET", `${this.path(id)}?wait=${wait}s`, undefined, signal);
      if (FINAL.includes(job.state)) return job;
      if (Date.now() >= end) throw new FlotillaError(0, "timeout", `the job is still ${job.state}`, null);
    }
  }

  /** Ends a job. A program that runs is stopped. */
  async cancel(id: string, signal?: AbortSignal): Promise<Job> {
    try {
      return await this.sender.send<Job>("DELETE", this.path(id), undefined, signal);
    } catch (error) {
      // It is over by what was sent before, whose answer was lost.
      if (!(error instanceof FlotillaError && error.status === 409 && error.isRepeated)) throw error;
      return this.job(id, signal);
    }
  }

  /** The changes of a job until it is over. A stream that breaks is taken up again where it was. */
  async *follow(id: string, signal?: AbortSignal): AsyncGenerator<JobEvent> {
    let last: string | undefined;
    let failures = 0;
    for (;;) {
      try {
        for await (const event of this.stream(`${this.path(id)}/events`, last, signal)) {
          failures = 0;
          last = event.id;
          const job = JSON.parse(event.data) as Job;
          yield { id: event.id, state: event.name, job };
          if (FINAL.includes(job.state)) return;
        }
      } catch (error) {
        signal?.throwIfAborted();
        // What a broken connection is called differs; what was answered is a `FlotillaError`.
        if (error instanceof FlotillaError && !mayPass(error)) throw error;
      }
      failures += 1;
      if (failures > this.sender.maxRetries) {
        throw new FlotillaError(0, "lost", "the events of the job broke off", null);
      }
      await pause(this.sender.retryDelay, signal);
    }
  }

  async *stream(
    url: string,
    last: string | undefined,
    signal?: AbortSignal,
  ): AsyncGenerator<{ id: string; name: string; data: string }> {
    const seen: Record<string, string> = last === undefined ? {} : { "last-event-id": last };
    const headers = this.sender.headers({ accept: "text/event-stream", ...seen });
    const answer = await fetch(url, { headers, signal });
    if (!answer.ok) throw await refusal(answer);
    if (answer.body === null) return;
    yield* parseEvents(answer.body);
  }

  path(id: string): string {
    return `${this.url}/v1/jobs/${encodeURIComponent(id)}`;
  }
}

/** The events of a stream, as the HTML standard (section 9.2.6) reads them. One that breaks off is none. */
export async function* parseEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<{ id: string; name: string; data: string }> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let pending = "";
  let event = { id: "", name: "message", data: [] as string[] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += decoder.decode(value, { stream: true });
      if (pending.length > EVENT_MAX) throw new FlotillaError(0, "too_large", "an event is too long", null);
      const lines = pending.split(/\r\n|\n|\r(?!$)/);
      pending = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (event.data.length > 0) yield { ...event, data: event.data.join("\n") };
          event = { id: event.id, name: "message", data: [] };
          continue;
        }
        const [, field, text] = /^([^:]*):? ?([\s\S]*)$/.exec(line) ?? ["", "", ""];
        if (field === "id") event.id = text;
        else if (field === "event") event.name = text;
        else if (field === "data") event.data.push(text);
      }
    }
  } finally {
    // Whoever stops listening hangs up.
    await reader.cancel().catch(() => undefined);
  }
}

/** How a `HybridExecutor` reaches its queue. */
export type HybridSettings = {
  taskQueueUrl: string;
  resultQueueUrl: string;
  apiKey?: string;
  /** How often a request that came to nothing is sent again. */
  maxRetries?: number;
  /** Milliseconds between two of them. */
  retryDelay?: number;
  /** Milliseconds between two looks for a result. */
  pollInterval?: number;
  /** Seconds that a task may wait for somebody to run it, beside its own timeout. */
  patience?: number;
  /** What programs are written in, where the queue has no language of its own. */
  language?: string;
};

/** What came of a task. */
export type TaskResult = {
  task_id: string;
  status: string;
  success: boolean;
  output: string;
  error: string;
  result: string | null;
  exit_code: number | null;
  execution_time: number | null;
};

/** Runs programs over the message queue, as if they ran here. */
export class HybridExecutor {
  settings: HybridSettings;
  sender: Sender;

  constructor(settings: HybridSettings) {
    this.settings = settings;
    this.sender = new Sender(settings);
  }

  /** Runs a program that may take `timeout` seconds. Its own failure is a result. */
  async executeCode(code: string, timeout = 30, signal?: AbortSignal): Promise<TaskResult> {
    const { taskQueueUrl, resultQueueUrl, language, pollInterval = 3000, patience = 60 } = this.settings;
    const end = Date.now() + (timeout + patience) * 1000;
    // The name is ours, so that a task that is sent again is the same.
    const task = { task_id: crypto.randomUUID(), code, timeout, language };
    const { task_id } = await this.sender.send<{ task_id: string }>("POST", taskQueueUrl, task, signal);
    const url = `${resultQueueUrl.replace(/\/+$/, "")}/${encodeURIComponent(task_id)}`;
    for (;;) {
      try {
        return await this.sender.send<TaskResult>("GET", url, undefined, signal);
      } catch (error) {
        if (!(error instanceof FlotillaError) || error.code !== "no_result") throw error;
      }
      const left = end - Date.now();
      if (left <= 0) throw new FlotillaError(0, "timeout", `no result within ${timeout + patience} s`, null);
      await pause(Math.min(pollInterval, left), signal);
    }
  }
}

/** What the documents call it. */
export { HybridExecutor as HybridSolVMExecutor };
