/**
 * What a room's document has in it: `files`, a map from ids to `{path, text}`, `meta` with what they are run as,
 * and `runs`, which only the gateway writes. Others may write it with programs of their own, so nothing is
 * believed to be there.
 */
import * as Y from "yjs";

import { randomId } from "../lib/random";
import { type Draft, draftOf, type Language } from "../play/program";

/** The file that a room begins with. Two who begin at the same time make the same one. */
const FIRST = "main";

export interface SharedFile {
  id: string;
  path: string;
  text: Y.Text;
}

export interface Meta {
  language: string | undefined;
  version: string | undefined;
  /** As in a shell: words, and quotes around those with spaces. */
  args: string;
}

export interface RunNote {
  id: string;
  author: string;
  at: string;
}

const filesIn = (doc: Y.Doc): Y.Map<unknown> => doc.getMap("files");
const metaIn = (doc: Y.Doc): Y.Map<unknown> => doc.getMap("meta");
const text = (it: unknown): string | undefined => (typeof it === "string" && it !== "" ? it : undefined);

/** The files, the entry first and the others by name. Two that were called the same at once differ by a number. */
export function filesOf(doc: Y.Doc): SharedFile[] {
  const found: SharedFile[] = [];
  for (const [id, it] of filesIn(doc)) {
    if (!(it instanceof Y.Map)) continue;
    const [path, content] = [text(it.get("path")), it.get("text")];
    if (path && content instanceof Y.Text) found.push({ id, path, text: content });
  }
  const entry = text(metaIn(doc).get("entry")) ?? FIRST;
  const order = (it: SharedFile) => `${it.id === entry ? 0 : 1}${it.path}\0${it.id}`;
  found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const taken = new Set<string>();
  for (const it of found) {
    it.path = distinct(it.path, taken);
    taken.add(it.path);
  }
  return found;
}

function distinct(path: string, taken: Set<string>): string {
  const [, name = path, ending = ""] = /^(.*?)(\.[^./]*)?$/.exec(path) ?? [];
  let made = path;
  for (let number = 2; taken.has(made); number += 1) made = `${name}-${number}${ending}`;
  return made;
}

export function metaOf(doc: Y.Doc): Meta {
  const meta = metaIn(doc);
  return { language: text(meta.get("language")), version: text(meta.get("version")), args: text(meta.get("args")) ?? "" };
}

/** The last runs, the newest first. */
export function runsOf(doc: Y.Doc): RunNote[] {
  const notes: RunNote[] = [];
  for (const it of doc.getArray<unknown>("runs")) {
    const { id, author, at } = (it ?? {}) as Record<string, unknown>;
    if (text(id)) notes.unshift({ id: text(id) ?? "", author: text(author) ?? "", at: text(at) ?? "" });
  }
  return notes;
}

/** The program as it is run. */
export function draftIn(doc: Y.Doc): Draft {
  return { files: filesOf(doc).map((it) => ({ path: it.path, content: it.text.toString() })), args: metaOf(doc).args, input: "" };
}

/** Puts a first program in where there is none. */
export function begin(doc: Y.Doc, language: Language): void {
  if (filesIn(doc).size > 0) return;
  doc.transact(() => {
    const [file] = draftOf(language).files;
    write(doc, FIRST, file?.path ?? language.entry, file?.content ?? "");
    metaIn(doc).set("language", language.id);
    metaIn(doc).set("entry", FIRST);
  });
}

export function addFile(doc: Y.Doc, path: string): string {
  const id = randomId();
  doc.transact(() => write(doc, id, path, ""));
  return id;
}

export function renameFile(doc: Y.Doc, id: string, path: string): void {
  const file = filesIn(doc).get(id);
  if (file instanceof Y.Map) file.set("path", path);
}

export function removeFile(doc: Y.Doc, id: string): void {
  filesIn(doc).delete(id);
}

export function changeMeta(doc: Y.Doc, changes: Partial<Meta>): void {
  doc.transact(() => {
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) metaIn(doc).delete(name);
      else metaIn(doc).set(name, value);
    }
  });
}

/** Another language. The entry is called as it wants it, and its example takes the place of one that nobody changed. */
export function changeLanguage(doc: Y.Doc, next: Language, before: Language | undefined): void {
  doc.transact(() => {
    changeMeta(doc, { language: next.id, version: undefined });
    const [entry, ...others] = filesOf(doc);
    if (!entry || !before || entry.path !== before.entry) return;
    if (!others.some((it) => it.path === next.entry)) renameFile(doc, entry.id, next.entry);
    const example = (it: Language) => draftOf(it).files[0]?.content ?? "";
    if (entry.text.toString() !== example(before)) return;
    entry.text.delete(0, entry.text.length);
    entry.text.insert(0, example(next));
  });
}

function write(doc: Y.Doc, id: string, path: string, content: string): void {
  const file = new Y.Map<unknown>();
  file.set("path", path);
  file.set("text", new Y.Text(content));
  filesIn(doc).set(id, file);
}
