/** What the page remembers in this browser. Where nothing may be stored, it works without. */
const PREFIX = "flotilla.";

export function stored(name: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + name) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a text, or forgets it; whether that worked. */
export function store(name: string, text: string | undefined): boolean {
  try {
    if (text === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, text);
    return true;
  } catch {
    return false;
  }
}

/** What is kept under names that begin so. */
export function storedNames(beginning: string): string[] {
  try {
    const names = Array.from({ length: localStorage.length }, (_, at) => localStorage.key(at) ?? "");
    return names.filter((it) => it.startsWith(PREFIX + beginning)).map((it) => it.slice(PREFIX.length));
  } catch {
    return [];
  }
}
