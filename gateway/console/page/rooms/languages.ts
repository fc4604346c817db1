/** What may be written in a room, and how it looks. Whoever may look at a room is told, with a key or without. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { send } from "../lib/api";
import { key } from "../lib/key";
import type { Language } from "../play/program";
import { headersFor } from "./access";

/** How often they are looked for again while there are none. */
const LOOK_AGAIN_MS = 3000;

export const languages = signal<Language[] | undefined>(undefined);

/** Asks for them, and again while there are none that can be run. */
export function useLanguages(room?: string): void {
  useEffect(() => {
    const gone = new AbortController();
    const look = () => void load(room, gone.signal).catch(() => undefined);
    look();
    const isWaiting = () => !document.hidden && !languages.value?.some((it) => it.available);
    const timer = setInterval(() => isWaiting() && look(), LOOK_AGAIN_MS);
    return () => {
      clearInterval(timer);
      gone.abort();
    };
  }, [room, key.value]);
}

async function load(room: string | undefined, gone: AbortSignal): Promise<void> {
  const path = room ? `/v1/rooms/${room}/languages` : "/v1/languages";
  const headers = room ? headersFor(room) : {};
  const told = (await (await send(path, { headers, signal: gone })).json()) as { languages: Language[] };
  languages.value = told.languages;
}

export const languageOf = (id: string | undefined): Language | undefined => languages.value?.find((it) => it.id === id);

/** The one to begin with. */
export const firstLanguage = (): Language | undefined => languages.value?.find((it) => it.available) ?? languages.value?.[0];
