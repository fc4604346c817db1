/**
 * The way to a run: a WebSocket that is opened again when it is lost, from the last event that came. What comes
 * twice is dropped, so whoever listens gets every event once and in order.
 */
import { Problem } from "../lib/api";
import { sentence } from "../lib/format";
import { type Answer, parse, type RunEvent } from "./event";

/** What the gateway speaks. */
const PROTOCOL = "run.v1.json";
/** After these numbers it is of no use to come back. */
const isFinal = (code: number): boolean => code >= 4400 && code <= 4499;
/** With these the gateway says why it is to be tried again. */
const isRefusal = (code: number): boolean => code >= 4500 && code <= 4599;
const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 5000;
/** A connection that says nothing is asked whether it is there so often, and given up if it stays silent. */
const ASK_MS = 10_000;

export interface Place {
  id: string;
  ticket: string;
  /** The number of the last event that is known. */
  since: number;
  /** Up to this number, what comes was there before we were. */
  pastSeq: number;
  /** Who types. */
  name?: string | undefined;
}

interface Listener {
  /** A connection is there, for the first time or again: the gateway has said something. */
  onOpen(): void;
  onEvent(event: RunEvent): void;
  onAnswer(answer: Answer): void;
}

/** What opens a connection; tests have one of their own. */
export type Open = (address: string, protocol: string) => WebSocket;

export class Line {
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #isHeard = true;
  /** Whether the gateway has said something on this connection. It takes one at first that it refuses then. */
  #isThere = false;
  #failures = 0;
  #isClosed = false;
  #seen: number;

  constructor(
    readonly place: Place,
    readonly listener: Listener,
    readonly open: Open = (address, protocol) => new WebSocket(address, protocol),
  ) {
    this.#seen = place.since;
    addEventListener("online", this.#hurry);
    this.#connect();
  }

  /** Sends a message; false if there is nobody to hear it now. */
  say(message: Record<string, unknown>): boolean {
    return this.#isThere && this.#send(message);
  }

  /** Hears nothing more, and leaves the run to itself. */
  close(): void {
    this.#isClosed = true;
    removeEventListener("online", this.#hurry);
    this.#drop();
  }

  #connect(): void {
    this.#drop();
    const { id, ticket, name } = this.place;
    const query = new URLSearchParams({ since: String(this.#seen), ticket, ...(name ? { name } : {}) });
    const socket = this.open(`${location.origin.replace(/^http/, "ws")}/v1/runs/${id}/ws?${query}`, PROTOCOL);
    this.#socket = socket;
    this.#watch = setInterval(() => this.#look(), ASK_MS);
    socket.addEventListener("open", () => {
      if (this.#socket !== socket) return;
      this.#isHeard = true;
      // A program may be silent for long.
      this.#send({ t: "ping" });
    });
    socket.addEventListener("message", ({ data }) => this.#socket === socket && this.#hear(String(data)));
    socket.addEventListener("close", ({ code, reason }) => this.#socket === socket && this.#lose(code, reason));
  }

  #hear(text: string): void {
    this.#isHeard = true;
    if (!this.#isThere) {
      this.#isThere = true;
      this.#failures = 0;
      this.listener.onEvent({ type: "connection", isOpen: true });
      this.listener.onOpen();
    }
    const message = parse(text, this.place.pastSeq);
    if (!message) return;
    if (!("seq" in message)) return this.listener.onAnswer(message);
    if (message.seq <= this.#seen) return;
    if (message.seq > this.#seen + 1) {
      // Something is missing before it, so it is asked for again.
      this.#lose(1006, "");
      return;
    }
    this.#seen = message.seq;
    if (message.event) this.listener.onEvent(message.event);
  }

  #lose(code: number, reason: string): void {
    this.#drop();
    if (this.#isClosed) return;
    if (isFinal(code)) {
      this.close();
      this.listener.onEvent({ type: "fault", problem: problemOf(code, reason) });
      return;
    }
    this.listener.onEvent({ type: "connection", isOpen: false, ...(isRefusal(code) && reason ? { reason: sentence(reason) } : {}) });
    const pause = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(this.#failures, 8));
    this.#failures += 1;
    // Not all of those whom one gateway left come back at once.
    this.#timer = setTimeout(() => this.#connect(), pause * (0.75 + Math.random() / 2));
  }

  /** A network that is gone may leave a socket open that nothing comes through. */
  #look(): void {
    if (!this.#isHeard) return this.#lose(1006, "");
    this.#isHeard = false;
    this.#send({ t: "ping" });
  }

  #send(message: Record<string, unknown>): boolean {
    const socket = this.#socket;
    if (!socket || socket.readyState !== socket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  }

  readonly #hurry = (): void => {
    if (this.#socket) return;
    this.#failures = 0;
    this.#connect();
  };

  #drop(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isThere = false;
    if (!socket) return;
    // Browsers complain of one that is closed before it is open.
    if (socket.readyState === socket.CONNECTING) socket.addEventListener("open", () => socket.close());
    else socket.close();
  }
}

function problemOf(code: number, reason: string): Problem {
  if (code === 4404) {
    return new Problem(404, "no_run", "The gateway knows this run no longer: it was started again, or the run is over for too long.");
  }
  if (code === 4401) {
    return new Problem(401, "closed", "The gateway does not show this run here any more: the invitation or the key behind it may have been withdrawn.");
  }
  return new Problem(code - 4000, "closed", `The gateway closed the connection: ${reason || code}.`);
}
