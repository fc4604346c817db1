/** How the editor keeps a file alike for all: who undoes, undoes only what is their own. */
import { EditorSelection, EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { ySyncAnnotation, yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import * as Y from "yjs";

import type { Sharing } from "../play/editor";
import { cursorIn, cursors, rangeOf } from "./cursors";
import type { SharedFile } from "./document";
import type { Presence } from "./presence";

/** Characters that may be written at once: the gateway takes no frame of more than 1 MiB, and no program of half of that. */
const AT_ONCE_MAX = 256 << 10;

/** Refuses what the gateway would end the connection for. */
const bounded = (onRefused: () => void): Extension =>
  EditorState.changeFilter.of((transaction) => {
    const isTooMuch = transaction.newDoc.length - transaction.startState.doc.length > AT_ONCE_MAX;
    // What comes from others is there already.
    if (!isTooMuch || transaction.annotation(ySyncAnnotation)) return true;
    onRefused();
    return false;
  });

/** Nobody types here: the text can be read, searched and copied, and a phone shows no keyboard. */
const readOnly: Extension = [EditorState.readOnly.of(true), EditorView.contentAttributes.of({ "aria-readonly": "true", inputmode: "none" })];

export class SharedFiles {
  /** What was done to each file, and where the cursor was in it. */
  readonly #undo = new Map<string, Y.UndoManager>();
  readonly #left = new Map<string, { anchor: unknown; head: unknown }>();

  constructor(
    readonly presence: Presence,
    readonly onRefused: () => void,
  ) {}

  sharing(file: SharedFile, isReadOnly: boolean): Sharing {
    const undoManager = this.#undo.get(file.id) ?? new Y.UndoManager(file.text);
    this.#undo.set(file.id, undoManager);
    const left = this.#left.get(file.id);
    const range = left && rangeOf(left, file.text, file.text.length);
    const note = EditorView.updateListener.of(({ state, selectionSet }) => {
      if (selectionSet) this.#left.set(file.id, cursorIn(file.text, state.selection.main));
    });
    return {
      extension: [
        yCollab(file.text, null, { undoManager }),
        keymap.of(yUndoManagerKeymap),
        cursors(file.text, this.presence),
        note,
        bounded(this.onRefused),
        isReadOnly ? readOnly : [],
      ],
      selection: range && EditorSelection.create([range]),
    };
  }

  /** Forgets files that are gone. */
  keep(files: SharedFile[]): void {
    for (const [id, manager] of this.#undo) {
      if (files.some((it) => it.id === id)) continue;
      manager.destroy();
      this.#undo.delete(id);
      this.#left.delete(id);
    }
  }
}
