/**
 * Runs a program, or takes part in a run that goes on, and tells what happens. A run belongs to the gateway and
 * not to this page: a lost connection, a reload or a closed tab do not end it.
 */
import { get, Problem, send } from "../lib/api";
import { sentence } from "../lib/format";
import { persist } from "../lib/persist";
import { type Answer, type Begun, isLast, type RunEvent } from "./event";
import { Line, type Open } from "./line";
import { Typing } from "./typing";

export type { Begun, Complaint, OutputFile, Report, RunEvent, Severity, Spent, Written } from "./event";

/** An answer about a run is waited for so long. */
const ASK_PATIENCE_MS = 10_000;
/** Signals that wait for a connection. */
const SIGNALS_MAX = 8;
/** A run that is stopped before it has a name is waited for so long, and so is the gateway that is to stop it. */
const STOP_PATIENCE_MS = 5000;

export type SignalName = "INT" | "TERM" | "KILL";
export type OnEvent = (event: RunEvent) => void;

/** A run that goes on, as whoever takes part in it has it at hand. */
export interface Running {
  /** Not known before the run is begun. */
  readonly id: string | undefined;
  /** Ends the run. It is told how that went: by its report, or with `stopped` or `fault`. */
  stop(): void;
  /** Types. Nothing gets lost, whatever becomes of the connection. */
  input(text: string): void;
  /** Ends the input behind what was typed; on a terminal it types Ctrl+D. */
  eof(): void;
  signal(name: SignalName): void;
  /** Tells the terminal's size. */
  resize(cols: number, rows: number): void;
  /** Hears no more of the run, and leaves it to itself. */
  detach(): void;
}

export interface Part {
  /** What is typed is shown to all as typed by this name; without one it is not shown. */
  name?: string;
  /** Tests have sockets of their own. */
  open?: Open;
}

export interface StartOptions extends Part {
  /** Where runs are begun, such as `/v1/rooms/ID/runs?name=ann`. */
  path?: string;
  headers?: Record<string, string>;
}

export interface Attachment extends Part {
  id: string;
  ticket: string;
  /** The number of the last event that is known; 0 for all of the log. */
  since?: number;
}

/** Starts a run. The last event is `exit`, `fault` or `stopped`, and there is exactly one of them. */
export function start(body: Record<string, unknown>, onEvent: OnEvent, options: StartOptions = {}): Running {
  return new Participation(onEvent, options, 0, async (signal) => {
    const response = await send(options.path ?? "/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json", ...options.headers },
      body: JSON.stringify(body),
      signal,
    });
    return { ...((await response.json()) as Begun), lastSeq: 0 };
  });
}

/** Takes part in a run, from any event of its log on. The last event is as for `start`. */
export function attach(to: Attachment, onEvent: OnEvent): Running {
  return new Participation(onEvent, to, to.since ?? 0, async (signal) => {
    const path = `/v1/runs/${to.id}?${new URLSearchParams({ ticket: to.ticket })}`;
    const ask = () => get<Begun>(path, AbortSignal.any([signal, AbortSignal.timeout(ASK_PATIENCE_MS)]));
    // A run outlives a network that is gone for a while, and a gateway that is not let through to it.
    const begun = await persist(ask, signal, ({ status, message }) =>
      onEvent({ type: "connection", isOpen: false, ...(status === 0 ? {} : { reason: sentence(message) }) }),
    );
    return { ...begun, id: to.id, ticket: to.ticket };
  });
}

class Participation implements Running {
  #begun: Begun | undefined;
  #line: Line | undefined;
  #isOver = false;
  #isStopping = false;
  #size: { cols: number; rows: number } | undefined;
  #signals: SignalName[] = [];
  readonly #gone = new AbortController();
  readonly #typing: Typing;
  readonly #onEvent: OnEvent;

  constructor(onEvent: OnEvent, part: Part, since: number, begin: (signal: AbortSignal) => Promise<Begun>) {
    this.#onEvent = onEvent;
    this.#typing = new Typing((message) => this.#line?.say(message));
    begin(this.#gone.signal).then(
      (begun) => this.#enter(begun, part, since),
      (error: unknown) => this.#tell(this.#isStopping ? { type: "stopped" } : { type: "fault", problem: problemOf(error) }),
    );
  }

  get id(): string | undefined {
    return this.#begun?.id;
  }

  stop(): void {
    if (this.#isOver || this.#isStopping) return;
    this.#isStopping = true;
    // What is on its way to be begun is stopped as soon as it has a name.
    if (this.#begun) void this.#end(this.#begun);
    else setTimeout(() => this.#begun ?? this.#gone.abort(), STOP_PATIENCE_MS);
  }

  input(text: string): void {
    if (this.#typing.type(text)) return;
    this.#tell({ type: "refused", code: "too_much", detail: "The program has not read what was typed before, so this was not taken." });
  }

  eof(): void {
    if (this.#begun?.tty) this.#typing.type("\u0004");
    else this.#typing.end();
  }

  signal(name: SignalName): void {
    const isSent = this.#line?.say({ t: "signal", name });
    if (!isSent && this.#signals.length < SIGNALS_MAX) this.#signals.push(name);
  }

  resize(cols: number, rows: number): void {
    if (this.#size?.cols === cols && this.#size.rows === rows) return;
    this.#size = { cols, rows };
    this.#line?.say({ t: "resize", cols, rows });
  }

  detach(): void {
    this.#isOver = true;
    this.#gone.abort();
    this.#line?.close();
  }

  #enter(begun: Begun, part: Part, since: number): void {
    if (this.#isOver) return;
    this.#begun = begun;
    this.#tell({ type: "begun", run: begun });
    const { id, ticket, lastSeq: pastSeq } = begun;
    const listener = {
      onOpen: () => this.#catchUp(),
      onEvent: (event: RunEvent) => this.#tell(event),
      onAnswer: (answer: Answer) => this.#hear(answer),
    };
    this.#line = new Line({ id, ticket, since, pastSeq, name: part.name }, listener, part.open);
    if (this.#isStopping) void this.#end(begun);
  }

  /** Says what could not be said while there was no connection. */
  #catchUp(): void {
    if (this.#size) this.#line?.say({ t: "resize", ...this.#size });
    for (const name of this.#signals.splice(0)) this.#line?.say({ t: "signal", name });
    this.#typing.again();
  }

  #hear(answer: Answer): void {
    if (answer.type === "spent") return this.#tell(answer);
    this.#typing.hear(answer);
    if (answer.type === "refused") this.#tell(answer);
  }

  async #end(begun: Begun): Promise<void> {
    try {
      const path = `/v1/runs/${begun.id}?${new URLSearchParams({ ticket: begun.ticket })}`;
      await send(path, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(STOP_PATIENCE_MS) });
    } catch (error) {
      if (this.#isOver) return;
      this.#isStopping = false;
      const { status, code, message, requestId } = problemOf(error);
      const detail = `It could not be stopped. ${message}`;
      // Nobody who stops a run waits for a gateway that is gone.
      if (status === 0) this.#tell({ type: "fault", problem: new Problem(0, code, `${detail} The run ends by its own limits.`) });
      else if (status !== 404) this.#tell({ type: "refused", code, detail: requestId ? `${detail} Request ${requestId}.` : detail });
    }
  }

  #tell(event: RunEvent): void {
    if (this.#isOver) return;
    const last = isLast(event);
    if (last) {
      this.#isOver = true;
      this.#gone.abort();
      this.#line?.close();
    }
    const wasStopped = event.type === "fault" && event.problem.code === "stopped";
    this.#onEvent(wasStopped ? { type: "stopped" } : event);
  }
}

function problemOf(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(0, "broken", "The connection broke off before the run was known.");
}
