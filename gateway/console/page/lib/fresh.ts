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
/** How often is looked whether what is shown is still held on to. */
const HOLD_MS = 300;
/** Asking again helps only with another key, or not at all. */
const REFUSALS = [401, 403, 404];

/** Asks again and again, `periodMs` after each answer, until `ask` says that nothing more will come. */
export function keepFresh<T>(periodMs: number, ask: (asking: Asking<T>) => Promise<boolean>, isHeld = () => false): Polled<T> {
  const data = signal<T | undefined>(undefined);
  const state = signal<State>("connecting");
  const at = signal<number | undefined>(undefined);
  const problem = signal<Problem | undefined>(undefined);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let request: AbortController | undefined;
  let failures = 0;
  let isOver = false;
  let isStopped = false;

  async function askNow(): Promise<void> {
    clearTimeout(timer);
    request?.abort();
    const own = new AbortController();
    request = own;
    isOver = false;
    const tell = (news?: T) => {
      if (own.signal.aborted) return;
      if (news !== undefined) data.value = news;
      failures = 0;
      at.value = Date.now();
      problem.value = undefined;
      state.value = "live";
    };
    try {
      const goesOn = await ask({ signal: own.signal, tell });
      if (own.signal.aborted) return;
      isOver = !goesOn;
      if (goesOn) plan(periodMs);
    } catch (error) {
      if (own.signal.aborted || isStopped) return;
      failures += 1;
      problem.value = error instanceof Problem ? error : new Problem(0, "broken", "The answer broke off.");
      if (REFUSALS.includes(problem.value.status)) {
        state.value = "refused";
        return;
      }
      state.value = failures >= FAILURES_MAX ? "stale" : "reconnecting";
      plan(pause(periodMs, failures, problem.value.retryAfter));
    }
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
      clearTimeout(timer);
      request?.abort();
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
      clearTimeout(timer);
      request?.abort();
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
