/**
 * The way into a room: a provider of `y-websocket` that gets a new ticket each time that it connects, and word of
 * how things stand. Whatever is written while there is no connection is merged in when there is one again.
 */
import { signal } from "@preact/signals";
import type { Awareness } from "y-protocols/awareness";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

import { Problem } from "../lib/api";
import { isWithdrawn } from "./access";
import { type Ending, endingOf, STORE_FULL, WITHDRAWN } from "./closing";
import { frame, read, type Said, SYNC } from "./wire";

export type State = "connecting" | "live" | "reconnecting" | "offline" | "ended";

const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 5000;
/** Attempts in a row until it counts as being offline. */
const FAILURES_MAX = 3;
/** Browsers let hidden pages say so little that others would see them come and go. They leave instead. */
const HIDDEN_MAX_MS = 4 * 60_000;
/** What the gateway took is written within so long, or the connection does not last. */
const SETTLED_AFTER_MS = 12_000;

/** Why it is tried again, where it is of use to know. */
const HINTS: Record<number, string> = {
  [STORE_FULL]: "The gateway has no space for what is written.",
  4503: "The gateway is being replaced.",
  4529: "That were too many changes or rooms at once.",
  4531: "The room is full.",
};

export interface Entrance {
  /** A ticket for one connection. */
  ticket(signal: AbortSignal): Promise<string>;
  /** Asks the gateway for anything, to see whether it can be reached. */
  probe(): Promise<unknown>;
}

export interface Listener {
  /** All that the gateway has is here. What is here need not be there yet. */
  onSync(): void;
  /** What the gateway has, as a state vector, when it begins to hear of what is here. */
  onTold(vector: Uint8Array): void;
  /** What was here at the last `onTold` is with the gateway for good. */
  onSettled(): void;
}

export class Connection {
  readonly state = signal<State>("connecting");
  readonly ending = signal<Ending | undefined>(undefined);
  readonly hint = signal<string | undefined>(undefined);
  /** Whether the gateway cannot write what it is told. It takes it at first, so no such connection counts as live. */
  readonly isStoreFull = signal(false);
  readonly #provider: WebsocketProvider;
  readonly #gone = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #isAsking = false;
  /** Whether this connection was told what the gateway has. */
  #isTold = false;
  /** How often it was told what it lacks. */
  #answers = 0;

  constructor(
    room: string,
    readonly doc: Y.Doc,
    awareness: Awareness,
    readonly entrance: Entrance,
    readonly listener: Listener,
  ) {
    const address = `${location.origin.replace(/^http/, "ws")}/collab`;
    // Tabs of one browser may have different roles, so they do not speak behind the gateway's back.
    this.#provider = new WebsocketProvider(address, room, doc, { awareness, connect: false, disableBc: true });
    this.#provider.on("sync", (isSynced: boolean) => {
      if (!isSynced) return;
      if (!this.isStoreFull.value) this.#live();
      this.#settleLater();
      listener.onSync();
    });
    const { messageHandlers } = this.#provider;
    const take = messageHandlers[SYNC];
    messageHandlers[SYNC] = (encoder, decoder, ...rest) => {
      const said = read(decoder.arr);
      take?.(encoder, decoder, ...rest);
      if (said) this.#hear(said);
    };
    this.#provider.on("connection-close", (event: CloseEvent | null) => this.#lose(event));
    const { signal } = this.#gone;
    addEventListener("online", () => this.enter(), { signal });
    addEventListener("offline", () => void this.#look(), { signal });
    document.addEventListener("visibilitychange", () => this.#see(), { signal });
    this.enter();
  }

  /** Connects now, with a new ticket. */
  enter(): void {
    if (this.#gone.signal.aborted || this.#isAsking || this.#provider.ws) return;
    clearTimeout(this.#timer);
    if (this.state.value === "ended") this.state.value = "reconnecting";
    this.ending.value = undefined;
    this.#isAsking = true;
    this.entrance.ticket(this.#gone.signal).then(
      (ticket) => {
        this.#isAsking = false;
        if (this.#gone.signal.aborted) return;
        this.#isTold = false;
        this.#answers = 0;
        this.#provider.params = { ticket };
        this.#provider.connect();
      },
      (error: unknown) => {
        this.#isAsking = false;
        if (!this.#gone.signal.aborted) this.#refuse(error);
      },
    );
  }

  close(): void {
    this.#gone.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#hidden);
    clearTimeout(this.#settling);
    this.#provider.destroy();
  }

  /**
   * Finds out whether the gateway has taken what is here. It hears one message after the other, so once it is told
   * what it lacks it is asked a second time for what it has: when that is answered, it took the first.
   */
  #hear({ kind, body }: Said): void {
    if (kind === "step1") {
      this.listener.onTold(body);
      if (this.#isTold) return;
      this.#isTold = true;
      const socket = this.#provider.ws;
      // The provider's own answer goes first.
      queueMicrotask(() => {
        if (socket && socket === this.#provider.ws) socket.send(frame({ kind: "step1", body: Y.encodeStateVector(this.doc) }));
      });
    } else if (kind === "step2") {
      this.#answers += 1;
      if (this.#answers === 2) this.#settleLater();
    }
  }

  #settleLater(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.isStoreFull.value = false;
      this.#live();
      // Whoever only looks is never told what the gateway has.
      if (this.#answers >= 2) this.listener.onSettled();
    }, SETTLED_AFTER_MS);
  }

  #live(): void {
    this.#failures = 0;
    this.hint.value = undefined;
    this.state.value = "live";
  }

  /** A connection is gone, or never came to be. The provider is not to come back with the ticket it had. */
  #lose(event: CloseEvent | null): void {
    this.#provider.shouldConnect = false;
    clearTimeout(this.#settling);
    if (this.#gone.signal.aborted) return;
    const ending = endingOf(event?.code ?? 0);
    if (ending) return this.#end(ending);
    if (event?.code === STORE_FULL) this.isStoreFull.value = true;
    this.hint.value = HINTS[event?.code ?? 0];
    this.#again();
  }

  #refuse(error: unknown): void {
    const problem = error instanceof Problem ? error : new Problem(0, "broken", "The answer broke off.");
    if (isWithdrawn(problem)) return this.#end(WITHDRAWN);
    // The page asks for a key, and opens the room again once it has one.
    if (problem.status === 401) return this.#end(undefined);
    const ending = [403, 404].includes(problem.status) ? endingOf(4000 + problem.status) : undefined;
    if (ending) return this.#end({ ...ending, advice: problem.status === 403 ? problem.message : ending.advice });
    this.#again(problem.retryAfter);
  }

  #again(afterSeconds = 0): void {
    const pause = Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** Math.min(this.#failures, 8));
    this.#failures += 1;
    const isOffline = !navigator.onLine || this.#failures > FAILURES_MAX;
    if (this.state.value !== "connecting" || isOffline) this.state.value = isOffline ? "offline" : "reconnecting";
    clearTimeout(this.#timer);
    // Not all of those whom one gateway left come back at once.
    this.#timer = setTimeout(() => this.enter(), Math.max(pause * (0.75 + Math.random() / 2), afterSeconds * 1000));
  }

  #end(ending: Ending | undefined): void {
    clearTimeout(this.#timer);
    this.ending.value = ending;
    this.state.value = "ended";
  }

  /** The network is said to be gone; a gateway on this machine is there all the same. */
  async #look(): Promise<void> {
    try {
      await this.entrance.probe();
    } catch (error) {
      const isAway = error instanceof Problem && error.status === 0;
      if (isAway && !this.#gone.signal.aborted && this.#provider.ws) this.#provider.disconnect();
    }
  }

  #see(): void {
    clearTimeout(this.#hidden);
    if (!document.hidden) return this.state.value === "ended" ? undefined : this.enter();
    this.#hidden = setTimeout(() => {
      clearTimeout(this.#timer);
      if (this.#provider.ws) this.#provider.disconnect();
      clearTimeout(this.#timer);
    }, HIDDEN_MAX_MS);
  }
}
