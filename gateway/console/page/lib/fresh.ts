/**
 * Keeps something fresh, and says how fresh it is. It rests while nobody looks (the tab is hidden) or
 * somebody holds on to what is shown, takes longer breaks while nothing answers, and never has two
 * requests on their way.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import { Problem } from "./api";
import { key } from "./key";

export type State = "connecting" | "live" | "reconnecting" | "stale" | "paused" | "refused";

/** What is told of something that changes, and how fresh that is. */
export interface Polled<T> {
  data: ReadonlySignal<T | undefined>;
  state: ReadonlySignal<State>;
  /** When the last answer came. */
  at: ReadonlySignal<number | undefined>;
  /** What the last failure was. */
  problem: ReadonlySignal<Problem | undefined>;
  /** Asks at once. */
  again(): void;
  stop(): void;
}

/** One request, or one connection. */
export interface Asking<T> {
  signal: AbortSignal;
  /** Takes news, or that there are none. */
  tell(news?: T): void;
}

/** Failures in a row until what is shown counts as stale. */
const FAILURES_MAX = 3;
const PAUSE_MAX_MS = 15_000;
const SILENCE_MAX_MS = 10_000;
/** How often is looked whether what is shown is still held on to. */
const HOLD_MS = 300;
/** Asking again helps only with another key, or not at all. */
const REFUSALS = [401, 403, 404];

interface Patience {
  /** Whether somebody holds on to what is shown. */
  isHeld?: (() => boolean) | undefined;
  /** A request that tells nothing for so long has failed. */
  silenceMs?: number;
}

/** Asks again and again, `periodMs` after each answer, until `ask` says that nothing more will come. */
export function keepFresh<T>(
  periodMs: number,
  ask: (asking: Asking<T>) => Promise<boolean>,
  { isHeld = () => false, silenceMs = SILENCE_MAX_MS }: Patience = {},
): Polled<T> {
  const data = signal<T | undefined>(undefined);
  const state = signal<State>("connecting");
  const at = signal<number | undefined>(undefined);
  const problem = signal<Problem | undefined>(undefined);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let silence: ReturnType<typeof setTimeout> | undefined;
  let request: AbortController | undefined;
  let failures = 0;
  let isOver = false;
  let isStopped = false;

  async function askNow(): Promise<void> {
    rest();
    const own = new AbortController();
    request = own;
    isOver = false;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        own.abort();
        fail(new Problem(0, "silent", "The gateway does not answer in time."));
      }, silenceMs);
    };
    const tell = (news?: T) => {
      if (own.signal.aborted) return;
      listen();
      if (news !== undefined) data.value = news;
      failures = 0;
      at.value = Date.now();
      problem.value = undefined;
      state.value = "live";
    };
    listen();
    try {
      const goesOn = await ask({ signal: own.signal, tell });
      if (own.signal.aborted) return;
      clearTimeout(silence);
      isOver = !goesOn;
      if (goesOn) plan(periodMs);
    } catch (error) {
      if (own.signal.aborted) return;
      clearTimeout(silence);
      fail(error instanceof Problem ? error : new Problem(0, "broken", "The answer broke off."));
    }
  }

  function fail(why: Problem): void {
    failures += 1;
    problem.value = why;
    if (REFUSALS.includes(why.status)) {
      state.value = "refused";
      return;
    }
    state.value = failures >= FAILURES_MAX ? "stale" : "reconnecting";
    plan(pause(periodMs, failures, why.retryAfter));
  }

  /** Asks nothing now. */
  function rest(): void {
    clearTimeout(timer);
    clearTimeout(silence);
    request?.abort();
  }

  function plan(ms: number): void {
    if (!isStopped && !document.hidden) timer = setTimeout(askUnlessHeld, ms);
  }

  function askUnlessHeld(): void {
    if (!isHeld()) return void askNow();
    if (state.value === "live") state.value = "paused";
    plan(HOLD_MS);
  }

  function look(): void {
    if (isOver) return;
    if (document.hidden) {
      rest();
      if (state.value === "live") state.value = "paused";
    } else if (state.value !== "refused") void askNow();
  }

  const watched = [
    key.subscribe(() => {
      if (state.value === "refused") void askNow();
    }),
  ];
  document.addEventListener("visibilitychange", look);
  if (document.hidden) state.value = "paused";
  else void askNow();
  return {
    data,
    state,
    at,
    problem,
    again: () => void askNow(),
    stop() {
      isStopped = true;
      rest();
      for (const stop of watched) stop();
      document.removeEventListener("visibilitychange", look);
    },
  };
}

/** What to wait after so many failures in a row. */
export function pause(periodMs: number, failures: number, retryAfterSeconds?: number): number {
  const doubled = Math.min(PAUSE_MAX_MS, periodMs * 2 ** Math.min(failures - 1, 6));
  return Math.max(doubled, (retryAfterSeconds ?? 0) * 1000);
}
