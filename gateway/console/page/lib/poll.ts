/**
 * Asks again and again, and says how old the answer is. It rests while nobody looks (the tab is hidden),
 * takes longer breaks while nothing answers, and never has two requests on their way.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import { Problem, send } from "./api";
import { key } from "./key";

export type State = "connecting" | "live" | "reconnecting" | "stale" | "paused" | "refused";

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

/** Failures in a row until what is shown counts as stale. */
const FAILURES_MAX = 3;
const PAUSE_MAX_MS = 15_000;

export function poll<T>(path: () => string, periodMs: number): Polled<T> {
  const data = signal<T | undefined>(undefined);
  const state = signal<State>("connecting");
  const at = signal<number | undefined>(undefined);
  const problem = signal<Problem | undefined>(undefined);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let request: AbortController | undefined;
  let failures = 0;
  let tag: { path: string; value: string } | undefined;
  let isStopped = false;

  async function ask(): Promise<void> {
    clearTimeout(timer);
    request?.abort();
    const own = new AbortController();
    request = own;
    const from = path();
    try {
      const headers: Record<string, string> = tag?.path === from ? { "if-none-match": tag.value } : {};
      const response = await send(from, { headers, signal: own.signal });
      if (response.status !== 304) {
        const next = (await response.json()) as T;
        if (own.signal.aborted) return;
        const value = response.headers.get("etag");
        tag = value ? { path: from, value } : undefined;
        data.value = next;
      }
      if (own.signal.aborted) return;
      failures = 0;
      at.value = Date.now();
      problem.value = undefined;
      state.value = "live";
      plan(periodMs);
    } catch (error) {
      if (own.signal.aborted || isStopped) return;
      failures += 1;
      problem.value = error instanceof Problem ? error : new Problem(0, "broken", "The answer broke off.");
      if (problem.value.status === 401 || problem.value.status === 403) {
        // Asking again helps only with another key.
        state.value = "refused";
        return;
      }
      state.value = failures >= FAILURES_MAX ? "stale" : "reconnecting";
      plan(pause(periodMs, failures, problem.value.retryAfter));
    }
  }

  function plan(ms: number): void {
    if (!isStopped && !document.hidden) timer = setTimeout(ask, ms);
  }

  function look(): void {
    if (document.hidden) {
      clearTimeout(timer);
      request?.abort();
      if (state.value === "live") state.value = "paused";
    } else if (state.value !== "refused") void ask();
  }

  const watched = [
    key.subscribe(() => {
      if (state.value === "refused") void ask();
    }),
  ];
  document.addEventListener("visibilitychange", look);
  if (document.hidden) state.value = "paused";
  else void ask();
  return {
    data,
    state,
    at,
    problem,
    again: () => void ask(),
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
