/** What the gateway tells as data, for whoever wants to read it as such. */
import { Problem, send } from "./api";

/** Events go on for as long as there is news, so what has come by then is all that is shown. */
const EVENTS_MS = 2000;
const PATIENCE_MS = 30_000;

/** The data as text, asked for with the tab's key. */
export async function load(path: string): Promise<Blob> {
  const response = await send(path, { headers: { accept: "*/*" }, signal: AbortSignal.timeout(PATIENCE_MS) });
  const isEvents = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  // Nothing in it is ever read as anything else.
  return new Blob(isEvents ? await begun(response) : [await response.text()], { type: "text/plain;charset=utf-8" });
}

/** The beginning of an answer that may not end. */
async function begun(response: Response): Promise<Uint8Array<ArrayBuffer>[]> {
  const reader = response.body?.getReader();
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const timer = setTimeout(() => void reader?.cancel(), EVENTS_MS);
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) break;
    pieces.push(value);
  }
  clearTimeout(timer);
  return pieces;
}

/** Why there is none, in words. */
export const reason = (error: unknown): string => (error instanceof Problem ? error.message : "The answer did not come in time.");
