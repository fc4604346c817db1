/** What may be written in a room, and how it looks. Who came by an invitation is told it for that. */
import { signal } from "@preact/signals";

import { send } from "../lib/api";
import type { Language } from "../play/program";
import { headersFor } from "./access";

export const languages = signal<Language[] | undefined>(undefined);

export async function loadLanguages(room: string | undefined, gone: AbortSignal): Promise<void> {
  const headers = room ? headersFor(room) : {};
  const told = (await (await send("/v1/languages", { headers, signal: gone })).json()) as { languages: Language[] };
  languages.value = told.languages;
}

export const languageOf = (id: string | undefined): Language | undefined => languages.value?.find((it) => it.id === id);

/** The one to begin with. */
export const firstLanguage = (): Language | undefined => languages.value?.find((it) => it.available) ?? languages.value?.[0];
