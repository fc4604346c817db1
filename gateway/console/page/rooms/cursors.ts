/**
 * The cursors and selections of others, and word of one's own. They are drawn beside the text and not in it, so
 * they disturb neither what is typed nor a screen reader; their colours are classes, as the page's policy allows
 * no styles in elements.
 */
import { EditorSelection, type Extension, type SelectionRange, StateEffect } from "@codemirror/state";
import { EditorView, layer, type LayerMarker, RectangleMarker, ViewPlugin, type ViewUpdate } from "@codemirror/view";
import { ySyncAnnotation } from "y-codemirror.next";
import * as Y from "yjs";

import { COLOURS, peopleOf } from "./people";
import type { Presence } from "./presence";

/** Moves are told no more often than this: the gateway takes so many messages a second, and typing makes some. */
const TELL_MS = 80;
/** A name stands at its cursor for so long after each move. */
const NAME_MS = 5000;

const moved = StateEffect.define<null>();

interface Remote {
  name: string;
  colour: number;
  range: SelectionRange;
  isFresh: boolean;
}

/** When the cursor of each was seen to move last, and where it was. */
type Moves = Map<number, { at: number; where: string }>;

class Caret implements LayerMarker {
  constructor(
    readonly box: RectangleMarker,
    readonly remote: Remote,
    readonly isAtTop: boolean,
  ) {}

  eq(other: Caret): boolean {
    const { name, isFresh } = this.remote;
    return this.box.eq(other.box) && name === other.remote.name && isFresh === other.remote.isFresh && this.isAtTop === other.isAtTop;
  }

  draw(): HTMLElement {
    const caret = this.box.draw();
    const flag = document.createElement("span");
    flag.className = `cm-flag${this.isAtTop ? " cm-flag-below" : ""}`;
    flag.textContent = this.remote.isFresh ? this.remote.name : "";
    caret.append(flag);
    return caret;
  }
}

const look = EditorView.theme({
  ...Object.fromEntries(Array.from({ length: COLOURS }, (_, it) => [`.cm-person-${it}`, { "--person": `var(--person-${it})` }])),
  ".cm-remote": { backgroundColor: "color-mix(in srgb, var(--person) 22%, transparent)" },
  ".cm-remote-caret": { borderLeft: "2px solid var(--person)", marginLeft: "-1px" },
  ".cm-flag": {
    position: "absolute",
    left: "-2px",
    bottom: "100%",
    maxWidth: "12em",
    minWidth: "6px",
    minHeight: "6px",
    overflow: "hidden",
    textOverflow: "ellipsis",
    whiteSpace: "nowrap",
    borderRadius: "3px 3px 3px 0",
    backgroundColor: "var(--person)",
    color: "var(--on-person)",
    fontFamily: "var(--sans)",
    fontSize: "0.6875rem",
    fontWeight: "600",
    lineHeight: "1.35",
  },
  ".cm-flag:not(:empty)": { padding: "0 0.35em" },
  ".cm-flag-below": { bottom: "auto", top: "100%", borderRadius: "0 3px 3px 3px" },
});

export function cursors(text: Y.Text, presence: Presence): Extension {
  const moves: Moves = new Map();
  const isNews = (update: ViewUpdate) => update.docChanged || update.transactions.some((it) => it.effects.some((effect) => effect.is(moved)));
  return [
    look,
    told(text, presence),
    heard(text, presence, moves),
    layer({
      above: false,
      class: "cm-remotes",
      update: isNews,
      markers: (view) =>
        remotes(view, text, presence, moves)
          .filter((it) => !it.range.empty)
          .flatMap((it) => RectangleMarker.forRange(view, `cm-remote cm-person-${it.colour}`, it.range)),
    }),
    layer({
      above: true,
      class: "cm-remote-carets",
      update: isNews,
      markers: (view) => remotes(view, text, presence, moves).flatMap((it) => caretOf(view, it)),
    }),
  ];
}

function caretOf(view: EditorView, remote: Remote): Caret[] {
  const at = EditorSelection.cursor(remote.range.head);
  const isAtTop = view.state.doc.lineAt(at.head).number === 1;
  const boxes = RectangleMarker.forRange(view, `cm-remote-caret cm-person-${remote.colour}`, at);
  return boxes.map((box) => new Caret(box, remote, isAtTop));
}

/** Who else is in this text, and where. */
function remotes(view: EditorView, text: Y.Text, presence: Presence, moves: Moves): Remote[] {
  const { awareness } = presence;
  const found: Remote[] = [];
  for (const { client, name, colour, cursor, isSelf } of peopleOf(awareness.getStates(), awareness.clientID)) {
    if (isSelf || !cursor) continue;
    const range = rangeOf(cursor, text, view.state.doc.length);
    if (!range) continue;
    const isFresh = Date.now() - (moves.get(client)?.at ?? 0) < NAME_MS;
    found.push({ name, colour, range, isFresh });
  }
  return found;
}

/** Where a cursor is, if it is in this text. What others say may be anything. */
export function rangeOf(cursor: { anchor: unknown; head: unknown }, text: Y.Text, length: number): SelectionRange | undefined {
  const place = (it: unknown): number | undefined => {
    try {
      const position = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(it), text.doc as Y.Doc);
      return position?.type === text && position.index <= length ? position.index : undefined;
    } catch {
      return undefined;
    }
  };
  const [anchor, head] = [place(cursor.anchor), place(cursor.head)];
  return anchor === undefined || head === undefined ? undefined : EditorSelection.range(anchor, head);
}

/** A selection in words that stay right while others write. */
export function cursorIn(text: Y.Text, { anchor, head }: SelectionRange): { anchor: unknown; head: unknown } {
  const place = (index: number) => Y.relativePositionToJSON(Y.createRelativePositionFromTypeIndex(text, index));
  return { anchor: place(anchor), head: place(head) };
}

/** Draws anew when somebody moves, and when a name has stood long enough. */
function heard(text: Y.Text, presence: Presence, moves: Moves): Extension {
  return ViewPlugin.define((view) => {
    const { awareness } = presence;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const draw = () => view.dispatch({ effects: moved.of(null) });
    const hideLater = () => {
      clearTimeout(timer);
      timer = setTimeout(draw, NAME_MS + 50);
    };
    const look = (changes: Record<"added" | "updated" | "removed", number[]>) => {
      if (Object.values(changes).every((all) => all.every((it) => it === awareness.clientID))) return;
      for (const { client, cursor } of peopleOf(awareness.getStates(), awareness.clientID)) {
        const where = JSON.stringify(cursor ?? null);
        if (moves.get(client)?.where !== where) moves.set(client, { at: Date.now(), where });
      }
      hideLater();
      draw();
    };
    // Whoever types stays before the same sign, so no move is told.
    const typed = (event: Y.YTextEvent) => {
      if (event.transaction.local) return;
      for (const [client, move] of moves) if (awareness.getStates().get(client)?.isTyping) move.at = Date.now();
      hideLater();
    };
    awareness.on("change", look);
    text.observe(typed);
    return {
      destroy() {
        clearTimeout(timer);
        awareness.off("change", look);
        text.unobserve(typed);
      },
    };
  });
}

/** Tells the others where one's own cursor is, and that one types. */
function told(text: Y.Text, presence: Presence): Extension {
  return ViewPlugin.define((view) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let hasTyped = false;
    const tell = () => {
      timer = undefined;
      if (hasTyped) presence.types();
      hasTyped = false;
      presence.points(cursorIn(text, view.state.selection.main));
    };
    return {
      update(update: ViewUpdate) {
        const isOwn = update.transactions.some((it) => it.docChanged && !it.annotation(ySyncAnnotation));
        if (isOwn) hasTyped = true;
        // While the editor is updated nothing may come of it.
        if (isOwn || update.selectionSet || (update.focusChanged && view.hasFocus)) timer ??= setTimeout(tell, TELL_MS);
      },
      destroy: () => clearTimeout(timer),
    };
  });
}
