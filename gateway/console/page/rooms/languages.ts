/** What may be written in a room, and how it looks. Whoever may look at a room is told, with a key or without. */
import { signal } from "@preact/signals";

import { send } from "../lib/api";
import type { Language } from "../play/program";
import { headersFor } from "./access";

export const languages = signal<Language[] | undefined>(undefined);

export async function loadLanguages(room: string | undefined, gone: AbortSignal): Promise<void> {
  const path = room ? `/v1/rooms/${room}/languages` : "/v1/languages";
  const told = (await (await send(path, { headers: room ? headersFor(room) : {}, signal: gone })).json()) as { languages: Language[] };
  languages.value = told.languages;
}

export const languageOf = (id: string | undefined): Language | undefined => languages.value?.find((it) => it.id === id);

/** The one to begin with. */
export const firstLanguage = (): Language | undefined => languages.value?.find((it) => it.available) ?? languages.value?.[0];
