/** What a screen reader is told of: results and changes, never every line. */
import { signal } from "@preact/signals";

const told = signal("");

/** Says something once the reader has nothing else to say. The same words twice are said twice. */
export function announce(text: string): void {
  told.value = told.peek() === text ? `${text}\u00a0` : text;
}

export function Announcer() {
  return (
    <div class="visually-hidden" role="status" aria-live="polite" aria-atomic="true">
      {told}
    </div>
  );
}
