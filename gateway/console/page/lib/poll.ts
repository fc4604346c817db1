/** Keeps an answer of the gateway fresh by asking for it again and again. */
import { send } from "./api";
import { keepFresh, type Polled } from "./fresh";

export function poll<T>(path: () => string, periodMs: number, isHeld?: () => boolean): Polled<T> {
  let tag: { path: string; value: string } | undefined;
  return keepFresh<T>(
    periodMs,
    async ({ signal, tell }) => {
      const from = path();
      const headers: Record<string, string> = tag?.path === from ? { "if-none-match": tag.value } : {};
      const response = await send(from, { headers, signal });
      if (response.status === 304) {
        tell();
        return true;
      }
      const next = (await response.json()) as T;
      if (signal.aborted) return true;
      const value = response.headers.get("etag");
      tag = value ? { path: from, value } : undefined;
      tell(next);
      return true;
    },
    { isHeld },
  );
}
