/**
 * Follows something that the gateway tells of as it changes, by server-sent events whose data is the whole
 * of it. A connection that is lost is made anew until the last event has come.
 */
import { Problem, send } from "./api";
import { EventParser } from "./events";
import { type Asking, keepFresh, type Polled } from "./fresh";

/** Between two connections. */
const PERIOD_MS = 1000;
/** The gateway gives a sign of life every 15 s. */
const SILENCE_MAX_MS = 30_000;

export function follow<T>(path: string, isLast: (told: T) => boolean): Polled<T> {
  return keepFresh<T>(PERIOD_MS, ask, { silenceMs: SILENCE_MAX_MS });

  async function ask({ signal, tell }: Asking<T>): Promise<boolean> {
    const response = await send(path, { headers: { accept: "text/event-stream" }, signal });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    let last: T | undefined;
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      const data = parser.push(value).at(-1)?.data;
      if (data !== undefined) last = JSON.parse(data) as T;
      // Signs of life are no events, and tell that what is shown still holds.
      tell(data === undefined ? undefined : last);
    }
    if (last !== undefined && isLast(last)) return false;
    throw new Problem(0, "broken", "The connection broke off.");
  }
}
