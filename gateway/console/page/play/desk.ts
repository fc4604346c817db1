/** What is on the desk: the languages, a draft of each, and what is kept of them in this browser. */
import { computed, signal } from "@preact/signals";

import { get, Problem } from "../lib/api";
import { store, stored } from "../lib/storage";
import { type Draft, draftOf, type File, type Language, type Limits, LIMITS } from "./program";
import type { Shared } from "./share";

interface Kept {
  language?: string;
  versions: Record<string, string>;
  drafts: Record<string, Draft>;
  active: Record<string, number>;
  limits: Limits;
  isChecking: boolean;
  hasTerminal: boolean;
}

const kept = read();

export const languages = signal<Language[] | undefined>(undefined);
export const trouble = signal<Problem | undefined>(undefined);
const chosen = signal(kept.language);
const versions = signal(kept.versions);
const drafts = signal(kept.drafts);
const active = signal(kept.active);
export const limits = signal(kept.limits);
/** Whether programs are looked at while they are written. */
export const isChecking = signal(kept.isChecking);
/** Whether programs run on a terminal. */
export const hasTerminal = signal(kept.hasTerminal);
/** What was on the desk before something else was put there. */
export const before = signal<{ what: string; language: string; draft: Draft } | undefined>(undefined);
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

/** Puts a program on the desk; what was there can be had back. */
export function put(what: string, next: Draft, id = language.value?.id): void {
  const now = languages.value?.find((it) => it.id === id);
  if (!now) return;
  const old = drafts.value[now.id];
  before.value = old && !isSame(old, next) && !isSame(old, draftOf(now)) ? { what, language: now.id, draft: old } : undefined;
  chosen.value = now.id;
  drafts.value = { ...drafts.value, [now.id]: next };
  active.value = { ...active.value, [now.id]: 0 };
  placed.value += 1;
  save();
}

export function takeBack(): void {
  const old = before.value;
  if (!old) return;
  before.value = undefined;
  drafts.value = { ...drafts.value, [old.language]: old.draft };
  placed.value += 1;
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

function write(): void {
  clearTimeout(timer);
  timer = undefined;
  const value: Kept = {
    ...(chosen.value ? { language: chosen.value } : {}),
    versions: versions.value,
    drafts: drafts.value,
    active: active.value,
    limits: limits.value,
    isChecking: isChecking.value,
    hasTerminal: hasTerminal.value,
  };
  isLost.value = !store("desk", JSON.stringify(value));
}

addEventListener("pagehide", () => timer !== undefined && write());

function read(): Kept {
  const empty: Kept = { versions: {}, drafts: {}, active: {}, limits: LIMITS, isChecking: true, hasTerminal: false };
  try {
    const value = JSON.parse(stored("desk") ?? "{}") as Partial<Kept>;
    const drafts = Object.entries(value.drafts ?? {}).filter(([, it]) => isDraft(it));
    return { ...empty, ...value, drafts: Object.fromEntries(drafts), limits: { ...LIMITS, ...value.limits } };
  } catch {
    return empty;
  }
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
