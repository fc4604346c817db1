/** The API key of this tab. It is in no cookie and no address, so nothing sends it by itself. */
import { signal } from "@preact/signals";

const NAME = "flotilla.key";

function kept(): string | undefined {
  try {
    return sessionStorage.getItem(NAME) ?? undefined;
  } catch {
    return undefined;
  }
}

export const key = signal<string | undefined>(kept());
/** Whether a request was refused for want of a key that is known. */
export const isKeyWanted = signal(false);

export function keepKey(value: string): void {
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // Then it lives as long as this page.
  }
  key.value = value;
  isKeyWanted.value = false;
}

export function forgetKey(): void {
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // It was never stored.
  }
  key.value = undefined;
}
