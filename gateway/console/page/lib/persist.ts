/** Asks again where a refusal passes by itself. */
import { Problem } from "./api";
import { pause } from "./fresh";

const PERIOD_MS = 1000;
/** What a gateway may want to be left alone for at most. */
const PAUSE_MAX_MS = 60_000;
/** Refusals in a row until it is given up: some two minutes of them, or as many pauses as were asked for. */
const REFUSALS_MAX = 12;

/** Too many asked, or somebody behind the gateway or in front of it is away. */
const passes = ({ status }: Problem): boolean => status === 429 || status >= 500;

/** Asks until there is an answer, and for as long as there is no network; `tell` hears why not yet. */
export async function persist<T>(ask: () => Promise<T>, signal: AbortSignal, tell: (problem: Problem) => void): Promise<T> {
  for (let refusals = 0; ; ) {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !(error instanceof Problem)) throw error;
      const isRefusal = error.status !== 0;
      if (isRefusal) refusals += 1;
      if (isRefusal && (!passes(error) || refusals === REFUSALS_MAX)) throw error;
      tell(error);
      const ms = isRefusal ? Math.min(pause(PERIOD_MS, refusals, error.retryAfter), PAUSE_MAX_MS) : PERIOD_MS;
      await wait(ms, signal);
      signal.throwIfAborted();
    }
  }
}

/** Waits so long, or until nobody wants an answer any more. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", go);
      resolve();
    };
    const timer = setTimeout(go, ms);
    signal.addEventListener("abort", go);
  });
}
