/** The rooms that this browser has been in, the last first; and what a room is opened by. */
import { store, stored } from "../lib/storage";

const KNOWN_MAX = 30;
const ID = /^[\w-]{1,64}$/;

export interface Known {
  id: string;
  title: string;
  at: number;
}

export function knownRooms(): Known[] {
  try {
    const all = JSON.parse(stored("rooms") ?? "[]") as unknown;
    return Array.isArray(all) ? all.filter(isKnown) : [];
  } catch {
    return [];
  }
}

export function noteRoom(room: Known): void {
  write([room, ...knownRooms().filter((it) => it.id !== room.id)]);
}

export function forgetRoom(id: string): void {
  write(knownRooms().filter((it) => it.id !== id));
}

const write = (rooms: Known[]) => store("rooms", JSON.stringify(rooms.slice(0, KNOWN_MAX)));

function isKnown(it: unknown): it is Known {
  const { id, title, at } = (it ?? {}) as Partial<Known>;
  return typeof id === "string" && ID.test(id) && typeof title === "string" && typeof at === "number";
}

/** The place of a room from its id or a link to it, with the invitation that the link has. */
export function placeOf(text: string, origin: string): string | undefined {
  const wanted = text.trim();
  if (ID.test(wanted)) return `/rooms/${wanted}`;
  try {
    const url = new URL(wanted, origin);
    const id = /^\/rooms\/([\w-]{1,64})\/?$/.exec(url.pathname)?.[1];
    return id && url.origin === origin ? `/rooms/${id}${url.hash}` : undefined;
  } catch {
    return undefined;
  }
}

/** What rooms that were just made here begin with: the ids of languages. */
export const wanted = new Map<string, string>();
