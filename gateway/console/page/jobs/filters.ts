/** Which jobs are shown: what the address says, and what the gateway is asked for. */
import { type State, STATES } from "./report";

export interface Filters {
  state?: State;
  language?: string;
  queue?: string;
  /** The name of a key, or `*`; without it one's own. */
  caller?: string;
  within?: Within;
  /** The `next` of the page before. */
  cursor?: string;
}

export const WITHINS = [
  { id: "15m", name: "in the last 15 minutes", ms: 15 * 60_000 },
  { id: "1h", name: "in the last hour", ms: 3_600_000 },
  { id: "24h", name: "in the last 24 hours", ms: 24 * 3_600_000 },
  { id: "7d", name: "in the last 7 days", ms: 7 * 24 * 3_600_000 },
] as const;
export type Within = (typeof WITHINS)[number]["id"];

/** Jobs on a page. */
export const PAGE = 50;

/** What an address says. What it says wrongly is not said. */
export function read(search: string): Filters {
  const parameters = new URLSearchParams(search);
  const text = (name: string) => parameters.get(name)?.trim() || undefined;
  const state = STATES.find((it) => it === text("state"));
  const within = WITHINS.find((it) => it.id === text("within"))?.id;
  return defined({
    state,
    language: text("language"),
    queue: text("queue"),
    caller: text("caller"),
    within,
    cursor: /^\d+$/.test(text("cursor") ?? "") ? text("cursor") : undefined,
  });
}

/** The part of an address behind `?`, if there is any. */
export function written(filters: Filters): string {
  const text = new URLSearchParams(Object.entries(filters).filter((it): it is [string, string] => it[1] !== undefined)).toString();
  return text && `?${text}`;
}

/** What is asked of the gateway for it. */
export function asked(filters: Filters, now: number): string {
  const { within, ...others } = filters;
  const ms = WITHINS.find((it) => it.id === within)?.ms;
  // To the whole second: the answer is none the better for more, and the address shorter.
  const since = ms && new Date(Math.floor((now - ms) / 1000) * 1000).toISOString().replace(".000", "");
  const parameters = Object.entries({ ...others, since, limit: String(PAGE), counts: "true" });
  return `/v1/jobs?${new URLSearchParams(parameters.filter((it): it is [string, string] => it[1] !== undefined))}`;
}

/** Other filters, from the first page on. */
export function changed(filters: Filters, changes: Partial<Record<keyof Filters, string | undefined>>): Filters {
  const { cursor: _, ...rest } = filters;
  return defined({ ...rest, ...changes } as Filters);
}

/** Whether anything but the state and the caller narrows the list: the counts know of no more. */
export const isNarrowed = (filters: Filters): boolean => Boolean(filters.language ?? filters.queue ?? filters.within);

function defined(filters: { [K in keyof Filters]: Filters[K] | undefined }): Filters {
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== undefined && value !== "")) as Filters;
}
