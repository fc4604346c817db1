/** What may be written in a room, and how it looks. Whoever may look at a room is told, with a key or without. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { send } from "../lib/api";
import { key } from "../lib/key";
import type { Language } from "../play/program";
import { headersFor } from "./access";

/** How often they are looked for again: while there are none that can be run, and while there are. */
const LOOK_SOON_MS = 3000;
const LOOK_LATER_MS = 30_000;
const PATIENCE_MS = 10_000;

export const languages = signal<Language[] | undefined>(undefined);

/** Asks for them, and again and again, as executors come and go. */
export function useLanguages(room?: string): void {
  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      const isWanted = !document.hidden || !languages.value;
      if (isWanted) await load(room, AbortSignal.any([gone.signal, AbortSignal.timeout(PATIENCE_MS)])).catch(() => undefined);
      if (gone.signal.aborted) return;
      timer = setTimeout(look, languages.value?.some((it) => it.available) ? LOOK_LATER_MS : LOOK_SOON_MS);
    };
    void look();
    return () => {
      clearTimeout(timer);
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
