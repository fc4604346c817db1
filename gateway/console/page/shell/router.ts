/** Which place of the page the address names, and how to get to another one without loading anew. */
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";

export interface Route {
  /** `/jobs` or, with what varies, `/jobs/:id`. */
  path: string;
  /** What it is called in the title, and in the navigation unless `hidden`. */
  name: string;
  hidden?: boolean;
  load: () => Promise<{ default: ComponentType<PlaceProps> }>;
}

export interface PlaceProps {
  params: Record<string, string>;
}

export interface Place {
  path: string;
  search: string;
}

const here = (): Place => ({ path: location.pathname, search: location.search });

/** Where we are. The part behind `#` belongs to the place itself. */
export const place = signal<Place>(here());

addEventListener("popstate", () => {
  const now = here();
  if (now.path !== place.value.path || now.search !== place.value.search) place.value = now;
});

/** Goes to another place, as a link would. */
export function go(href: string): void {
  history.pushState(null, "", href);
  place.value = here();
  scrollTo(0, 0);
}

/** Changes what the address says of this place, without a step in the history. */
export function note(search: Record<string, string | undefined>): void {
  const parameters = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined) parameters.delete(name);
    else parameters.set(name, value);
  }
  const text = parameters.toString();
  history.replaceState(null, "", `${location.pathname}${text && `?${text}`}${location.hash}`);
  place.value = here();
}

/** What varies in a path, if it is one of the pattern. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = parts(pattern);
  const found = parts(path);
  if (wanted.length !== found.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = found[index] ?? "";
    if (part.startsWith(":")) {
      try {
        params[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return undefined;
      }
    } else if (part !== value) return undefined;
  }
  return params;
}

const parts = (path: string): string[] => path.split("/").filter((it) => it !== "");
