/** A name that nobody else has: 64 bits of chance. There is more to choose from only on pages that TLS brought. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");
}
