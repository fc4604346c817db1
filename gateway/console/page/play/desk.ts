/** What is on the desk: the languages, a draft of each, and what is kept of them in this browser. */
import { computed, signal } from "@preact/signals";

import { get, Problem } from "../lib/api";
import { store, stored } from "../lib/storage";
import { type Draft, draftOf, type File, type Language, type Limits, LIMITS } from "./program";
import type { Shared } from "./share";

/** What was put on the desk at once, and the program of one's own that made room for it. */
interface Aside {
  what: string;
  placed: Draft;
  own?: Draft;
}

interface Kept {
  language?: string;
  versions: Record<string, string>;
  drafts: Record<string, Draft>;
  asides: Record<string, Aside>;
  active: Record<string, number>;
  limits: Limits;
  isChecking: boolean;
  hasTerminal: boolean;
}

/** What this tab read or wrote last. */
let kept = read();

export const languages = signal<Language[] | undefined>(undefined);
export const trouble = signal<Problem | undefined>(undefined);
const chosen = signal(kept.language);
const versions = signal(kept.versions);
const drafts = signal(kept.drafts);
const asides = signal(kept.asides);
const active = signal(kept.active);
export const limits = signal(kept.limits);
/** Whether programs are looked at while they are written. */
export const isChecking = signal(kept.isChecking);
/** Whether programs run on a terminal. */
export const hasTerminal = signal(kept.hasTerminal);
/** What became of a link to a program, if that is not what was wanted. */
export const told = signal<string | undefined>(undefined);
/** Counts what was put on the desk at once, so that the editor takes it. */
export const placed = signal(0);
/** Whether the browser has no room for what is written. */
export const isLost = signal(false);

export const language = computed<Language | undefined>(() => {
  const all = languages.value ?? [];
  return all.find((it) => it.id === chosen.value) ?? all.find((it) => it.available) ?? all[0];
});

export const version = computed(() => {
  const now = language.value;
  const wanted = now && versions.value[now.id];
  return wanted && now.versions.includes(wanted) ? wanted : undefined;
});

export const draft = computed<Draft>(() => {
  const now = language.value;
  if (!now) return { files: [], args: "", input: "" };
  return drafts.value[now.id] ?? draftOf(now);
});

/** The program of one's own that made room for what was put on the desk. */
export const before = computed(() => {
  const aside = asides.value[language.value?.id ?? ""];
  return aside?.own && { what: aside.what, draft: aside.own };
});

export const fileIndex = computed(() => Math.min(active.value[language.value?.id ?? ""] ?? 0, draft.value.files.length - 1));

export async function load(signal: AbortSignal): Promise<void> {
  try {
    const told = await get<{ languages: Language[] }>("/v1/languages", signal);
    languages.value = told.languages;
    trouble.value = undefined;
  } catch (error) {
    if (signal.aborted) return;
    trouble.value = error instanceof Problem ? error : new Problem(0, "broken", "The languages could not be read.");
  }
}

export function chooseLanguage(id: string): void {
  catchUp();
  chosen.value = id;
  placed.value += 1;
  save();
}

export function chooseVersion(wanted: string | undefined): void {
  const now = language.value;
  if (!now) return;
  const { [now.id]: _, ...others } = versions.value;
  versions.value = wanted ? { ...others, [now.id]: wanted } : others;
  save();
}

export function change(changes: Partial<Draft>): void {
  const now = language.value;
  if (!now) return;
  drafts.value = { ...drafts.value, [now.id]: { ...draft.value, ...changes } };
  save();
}

export function changeFile(index: number, changes: Partial<File>): void {
  change({ files: draft.value.files.map((it, at) => (at === index ? { ...it, ...changes } : it)) });
}

export function showFile(index: number): void {
  const now = language.value;
  if (!now) return;
  active.value = { ...active.value, [now.id]: index };
  save();
}

/** Puts a program on the desk. What somebody wrote there can be had back, also after a second one was put there. */
export function put(what: string, next: Draft, id = language.value?.id): void {
  const now = languages.value?.find((it) => it.id === id);
  if (!now) return;
  catchUp();
  const old = drafts.value[now.id];
  const last = asides.value[now.id];
  const isOwn = old && !isSame(old, draftOf(now)) && !(last && isSame(old, last.placed));
  const own = isOwn ? old : last?.own;
  asides.value = { ...asides.value, [now.id]: { what, placed: next, ...(own && !isSame(own, next) ? { own } : {}) } };
  chosen.value = now.id;
  drafts.value = { ...drafts.value, [now.id]: next };
  active.value = { ...active.value, [now.id]: 0 };
  placed.value += 1;
  save();
}

export function takeBack(): void {
  const own = before.value?.draft;
  if (!own) return;
  change(own);
  leaveBe();
  placed.value += 1;
}

/** What was put on the desk stays there. */
export function leaveBe(): void {
  const id = language.value?.id ?? "";
  const { [id]: aside, ...others } = asides.value;
  asides.value = aside ? { ...others, [id]: { what: aside.what, placed: aside.placed } } : others;
  save();
}

export const sharedNow = (): Shared | undefined => (language.value ? { language: language.value.id, ...draft.value } : undefined);

export function changeLimits(changes: Partial<Limits>): void {
  limits.value = { ...limits.value, ...changes };
  save();
}

export function check(wanted: boolean): void {
  isChecking.value = wanted;
  save();
}

export function wantTerminal(wanted: boolean): void {
  hasTerminal.value = wanted;
  save();
}

const isSame = (a: Draft, b: Draft) => JSON.stringify(a) === JSON.stringify(b);

let timer: ReturnType<typeof setTimeout> | undefined;

/** Keeps everything soon; at once when the page goes away. */
function save(): void {
  clearTimeout(timer);
  timer = setTimeout(write, 300);
}

/** Writes what this tab changed; all else stays as another one may have left it. */
function write(): void {
  clearTimeout(timer);
  timer = undefined;
  const ours: Kept = {
    ...(chosen.value ? { language: chosen.value } : {}),
    versions: versions.value,
    drafts: drafts.value,
    asides: asides.value,
    active: active.value,
    limits: limits.value,
    isChecking: isChecking.value,
    hasTerminal: hasTerminal.value,
  };
  const theirs = read();
  const all: Kept = {
    ...merged(theirs, ours, kept),
    versions: merged(theirs.versions, ours.versions, kept.versions),
    drafts: merged(theirs.drafts, ours.drafts, kept.drafts),
    asides: merged(theirs.asides, ours.asides, kept.asides),
    active: merged(theirs.active, ours.active, kept.active),
    limits: merged(theirs.limits, ours.limits, kept.limits),
  };
  const isKept = store("desk", JSON.stringify(all));
  if (isKept) kept = ours;
  // What is on the desk goes before what made room for it.
  isLost.value = !isKept && !store("desk", JSON.stringify({ ...all, asides: {} }));
}

/** Takes in what another tab wrote, before the editor shows something else. */
function catchUp(): void {
  const theirs = read();
  drafts.value = merged(theirs.drafts, drafts.value, kept.drafts);
  asides.value = merged(theirs.asides, asides.value, kept.asides);
  kept = { ...kept, drafts: theirs.drafts, asides: theirs.asides };
}

/** What they have, with what we changed since `known`. */
function merged<T extends object>(theirs: T, ours: T, known: T): T {
  const names = new Set([...Object.keys(theirs), ...Object.keys(ours)]) as Set<keyof T>;
  const parts = Array.from(names, (name) => [name, ours[name] === known[name] ? theirs[name] : ours[name]] as const);
  return Object.fromEntries(parts.filter(([, it]) => it !== undefined)) as T;
}

addEventListener("pagehide", () => timer !== undefined && write());

function read(): Kept {
  const empty: Kept = { versions: {}, drafts: {}, asides: {}, active: {}, limits: LIMITS, isChecking: true, hasTerminal: false };
  try {
    const value = JSON.parse(stored("desk") ?? "{}") as Partial<Kept>;
    const drafts = Object.entries(value.drafts ?? {}).filter(([, it]) => isDraft(it));
    const asides = Object.entries(value.asides ?? {}).filter(([, it]) => isAside(it));
    return {
      ...empty,
      ...value,
      drafts: Object.fromEntries(drafts),
      asides: Object.fromEntries(asides),
      limits: { ...LIMITS, ...value.limits },
    };
  } catch {
    return empty;
  }
}

function isAside(it: unknown): it is Aside {
  const aside = it as Aside | null;
  return typeof aside?.what === "string" && isDraft(aside.placed) && (aside.own === undefined || isDraft(aside.own));
}

function isDraft(it: unknown): it is Draft {
  const draft = it as Draft | null;
  return (
    typeof draft?.args === "string" &&
    typeof draft.input === "string" &&
    Array.isArray(draft.files) &&
    draft.files.length > 0 &&
    draft.files.every((file) => typeof file?.path === "string" && typeof file.content === "string")
  );
}
