/**
 * What was written while there was no connection, kept in this browser until it is sent: a page that is closed or
 * loaded anew loses nothing. Changes that arrive twice count once, so more may be kept than is needed.
 */
import * as Y from "yjs";

import { store, stored } from "../lib/storage";

const nameOf = (room: string): string => `room.${room}.unsent`;

/** Puts what was kept into the document. */
export function restore(room: string, doc: Y.Doc): void {
  const kept = stored(nameOf(room));
  if (!kept) return;
  try {
    Y.applyUpdate(doc, Uint8Array.from(atob(kept), (it) => it.charCodeAt(0)), "kept");
  } catch {
    forget(room);
  }
}

/** Keeps what the document has beyond `known`; whether there was space for it. */
export function keep(room: string, doc: Y.Doc, known: Uint8Array | undefined): boolean {
  let text = "";
  for (const byte of Y.encodeStateAsUpdate(doc, known)) text += String.fromCharCode(byte);
  return store(nameOf(room), btoa(text));
}

export function forget(room: string): void {
  store(nameOf(room), undefined);
}
