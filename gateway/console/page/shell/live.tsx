/** Says how fresh the page is. Only a change is said aloud. */
import { useEffect, useRef, useState } from "preact/hooks";

import { clock } from "../lib/format";
import type { Polled, State } from "../lib/fresh";
import { now as timeNow } from "../lib/time";
import { announce } from "./announce";

const TEXTS: Record<State, string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  stale: "Stale",
  paused: "Paused",
  refused: "Needs a key",
};

export function Live<T>({ polled, what }: { polled: Polled<T>; what: string }) {
  const state = polled.state.value;
  const at = polled.at.value;
  const before = useRef(state);
  // Behind a stale state stands the time of the last answer, which does not move.
  const text = state === "stale" && at ? `Stale since ${clock(at)}` : TEXTS[state];
  useEffect(() => {
    const isNews = before.current !== state && (state === "stale" || (before.current === "stale" && state === "live"));
    if (isNews) announce(state === "stale" ? `${what} is stale: the gateway does not answer` : `${what} is live again`);
    before.current = state;
  }, [state]);
  return (
    <p class={`live live-${state}`}>
      <span class="live-dot" aria-hidden="true" />
      {text}
      {state !== "stale" && at ? <span class="muted number"> · {clock(at)}</span> : null}
    </p>
  );
}

/** The time now by the gateway's clock, every second, for what counts up. */
export function useNow(): number {
  const [now, setNow] = useState(timeNow);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(timeNow()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
