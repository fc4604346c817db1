/** Who is in a room: names, colours, and what each says of itself. Others may say anything. */

/** There are so many colours: `--person-0` and on in the palette. */
export const COLOURS = 8;
export const NAME_MAX = 40;
/** What the gateway takes of a name. */
const NAME_BYTES_MAX = 64;

export const ROLES = ["owner", "editor", "runner", "viewer"] as const;
export type Role = (typeof ROLES)[number];

/** Who may do something, as in the gateway. */
export const mayEdit = (role: Role | undefined): boolean => role === "owner" || role === "editor";
export const mayRun = (role: Role | undefined): boolean => role !== undefined && role !== "viewer";

export interface Person {
  client: number;
  name: string;
  colour: number;
  role: Role | undefined;
  isSelf: boolean;
  isTyping: boolean;
  isRunning: boolean;
  /** When it came, as it says. */
  since: number;
  cursor: { anchor: unknown; head: unknown } | undefined;
}

/** What somebody says of itself, as far as it can be believed. */
export function personOf(client: number, said: unknown, self: number): Person {
  const { user, role, isTyping, isRunning, since, cursor } = (said ?? {}) as Record<string, unknown>;
  const { name, colour } = (user ?? {}) as Record<string, unknown>;
  const { anchor, head } = (cursor ?? {}) as Record<string, unknown>;
  const isColour = Number.isInteger(colour) && (colour as number) >= 0 && (colour as number) < COLOURS;
  return {
    client,
    name: (typeof name === "string" && cleanName(name)) || "Somebody",
    colour: isColour ? (colour as number) : client % COLOURS,
    role: ROLES.find((it) => it === role),
    isSelf: client === self,
    isTyping: isTyping === true,
    isRunning: isRunning === true,
    since: typeof since === "number" ? since : Number.MAX_SAFE_INTEGER,
    cursor: anchor && head ? { anchor, head } : undefined,
  };
}

/** Everybody, oneself first and then whoever came first. */
export function peopleOf(states: Map<number, unknown>, self: number): Person[] {
  const all = [...states].map(([client, said]) => personOf(client, said, self));
  return all.sort((a, b) => Number(b.isSelf) - Number(a.isSelf) || a.since - b.since || a.client - b.client);
}

/**
 * The colour to have: the one there is, unless somebody who was here before has it and another one is free. All
 * choose by the same rule, so of two who came with one colour only the later changes it.
 */
export function colourOf(self: Person, others: Person[]): number {
  const isEarlier = (it: Person) => it.since < self.since || (it.since === self.since && it.client < self.client);
  if (!others.some((it) => it.colour === self.colour && isEarlier(it))) return self.colour;
  const taken = new Set(others.map((it) => it.colour));
  for (let step = 1; step < COLOURS; step += 1) {
    const colour = (self.colour + step) % COLOURS;
    if (!taken.has(colour)) return colour;
  }
  return self.colour;
}

/** A name that can be shown to others: short, on one line, and with something in it; otherwise empty. */
export function cleanName(name: string): string {
  const plain = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, (it) => (it === "\u200d" ? it : " "));
  let clean = "";
  for (const sign of signsOf(plain.replace(/\s+/g, " ").trim()).slice(0, NAME_MAX)) {
    if (new TextEncoder().encode(clean + sign).length > NAME_BYTES_MAX) break;
    clean += sign;
  }
  return clean.trim();
}

/** One or two signs that stand for a name. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  const first = (word: string | undefined) => signsOf(word ?? "")[0] ?? "";
  const last = words.length > 1 ? words[words.length - 1] : undefined;
  return (first(words[0]) + first(last)).toLocaleUpperCase() || "?";
}

const segmenter = new Intl.Segmenter();
/** What people see as one sign, such as an emoji of several characters. */
const signsOf = (text: string): string[] => Array.from(segmenter.segment(text), (it) => it.segment);

const NAMES = ["Puffin", "Heron", "Otter", "Tern", "Seal", "Curlew", "Eider", "Gannet", "Dunlin", "Plover", "Petrel", "Skua"];

export const nameToBegin = (chance: number): string => NAMES[Math.floor(chance * NAMES.length)] ?? "Puffin";

/** Who came and who went, in words; nothing if nobody did. */
export function changesOf(before: Person[], now: Person[]): string | undefined {
  const names = (all: Person[], others: Person[]) => all.filter((it) => !it.isSelf && !others.some((other) => other.client === it.client)).map((it) => it.name);
  const told = [
    [names(now, before), "joined"],
    [names(before, now), "left"],
  ] as const;
  const parts = told.filter(([who]) => who.length > 0).map(([who, did]) => `${listed(who)} ${did}`);
  return parts.length > 0 ? parts.join(", ") : undefined;
}

/** `Ann`, `Ann and Ben`, `Ann, Ben and 3 others`. */
export function listed(names: string[]): string {
  if (names.length < 2) return names[0] ?? "";
  if (names.length < 4) return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
  return `${names.slice(0, 2).join(", ")} and ${names.length - 2} others`;
}

/** What somebody does just now, or else may do. */
export function doing(person: Person): string {
  if (person.isRunning) return "is running it";
  if (person.isTyping) return "is typing";
  return person.role ?? "";
}
