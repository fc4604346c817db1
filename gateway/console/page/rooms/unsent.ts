/**
 * What was written while there was no connection, kept in this browser until it is sent: a page that is closed or
 * loaded anew loses nothing. Each page keeps its own, and the next one takes all of it in. Changes that arrive
 * twice count once, so more may be kept than is needed.
 */
import * as Y from "yjs";

import { store, stored, storedNames } from "../lib/storage";

const namesOf = (room: string): string[] => storedNames(`room.${room}.unsent.`);

/** Puts what was kept into the document; what that was is to be forgotten once it is sent. */
export function restore(room: string, doc: Y.Doc): string[] {
  const names = namesOf(room);
  for (const name of names) {
    try {
      Y.applyUpdate(doc, Uint8Array.from(atob(stored(name) ?? ""), (it) => it.charCodeAt(0)), "kept");
    } catch {
      // It is no change, so nothing is lost.
    }
  }
  return names;
}

/** Keeps what the document has beyond `known`; whether there was space for it. */
export function keep(room: string, doc: Y.Doc, known: Uint8Array | undefined): boolean {
  let text = "";
  for (const byte of Y.encodeStateAsUpdate(doc, known)) text += String.fromCharCode(byte);
  return store(nameFor(room, doc), btoa(text));
}

export const nameFor = (room: string, doc: Y.Doc): string => `room.${room}.unsent.${doc.clientID}`;

export function forget(names: string[]): void {
  for (const name of names) store(name, undefined);
}

/** Forgets all that was kept of a room. */
export const forgetAll = (room: string): void => forget(namesOf(room));
