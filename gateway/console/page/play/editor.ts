/**
 * The editor. It lives in a shadow root: there its styles come as sheets that scripts make, which the page's
 * policy allows, and not as elements, which it refuses.
 */
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { type EditorSelection, EditorState, type Extension, Prec } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  rectangularSelection,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";

import type { Complaint } from "../run/event";
import { language } from "./grammar";
import type { Syntax } from "./program";

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--syntax-keyword)" },
  { tag: tags.string, color: "var(--syntax-string)" },
  { tag: tags.number, color: "var(--syntax-number)" },
  { tag: tags.atom, color: "var(--syntax-number)" },
  { tag: tags.typeName, color: "var(--syntax-type)" },
  { tag: tags.function(tags.variableName), color: "var(--syntax-name)" },
  { tag: tags.comment, color: "var(--syntax-comment)", fontStyle: "italic" },
  { tag: tags.meta, color: "var(--syntax-meta)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "var(--size-3)" },
  "&.cm-focused": { outline: "none" },
  // The numbers of lines would cover an outline.
  "&.cm-focused::after": {
    content: "''",
    position: "absolute",
    inset: "0",
    zIndex: "300",
    border: "2px solid var(--accent)",
    pointerEvents: "none",
  },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto" },
  ".cm-content": { padding: "0.5rem 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 1rem 0 0.5rem" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--muted)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "2.5em", padding: "0 0.25em 0 0.5em" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent) 7%, transparent)" },
  ".cm-activeLineGutter": { color: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--accent) 28%, transparent)",
  },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "color-mix(in srgb, var(--accent) 22%, transparent)",
    outline: "1px solid var(--edge)",
  },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)",
    color: "var(--text)",
    border: "1px solid var(--edge)",
    borderRadius: "var(--round-small)",
    maxWidth: "40rem",
  },
  ".cm-diagnostic": { fontFamily: "var(--sans)", fontSize: "var(--size-2)", whiteSpace: "pre-wrap", padding: "0.35rem 0.6rem" },
  ".cm-diagnostic-error": { borderLeft: "4px solid var(--fail-fill)" },
  ".cm-diagnostic-warning": { borderLeft: "4px solid var(--warn-fill)" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--fail)",
    textDecorationSkipInk: "none",
    textUnderlineOffset: "0.25em",
  },
  ".cm-lintRange-warning": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--warn)",
    textDecorationSkipInk: "none",
    textUnderlineOffset: "0.25em",
  },
  ".cm-gutter-lint": { width: "1rem" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "0" },
  ".cm-lint-marker": { width: "0.55rem", height: "0.55rem", margin: "0.5em 0.2rem 0", borderRadius: "50%", content: "''" },
  ".cm-lint-marker-error": { backgroundColor: "var(--fail-fill)", content: "''", display: "block" },
  ".cm-lint-marker-warning": { backgroundColor: "var(--warn-fill)", content: "''", display: "block", borderRadius: "1px" },
  // The page's own rule does not reach in here. The caret stands still.
  "@media (prefers-reduced-motion: reduce)": { ".cm-cursorLayer": { animation: "none !important" } },
});

/** What the editor takes when others write the same text: what keeps both alike, and undoes, in place of a history. */
export interface Sharing {
  extension: Extension;
  selection?: EditorSelection | undefined;
}

export interface Editor {
  /** Shows a file, or another one: each has a history of its own, unless it is shared. */
  show(key: string, label: string, text: string, syntax: Syntax | undefined, sharing?: Sharing): void;
  /** Forgets the histories of files that are gone. */
  forget(): void;
  complain(errors: Complaint[], warnings: Complaint[]): void;
  /** Puts the cursor there and brings it into view. Lines and columns count from 1. */
  goTo(line: number, column: number): void;
  focus(): void;
  close(): void;
}

export function open(host: HTMLElement, onChange: (text: string) => void = () => undefined): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.replaceChildren();
  const states = new Map<string, EditorState>();
  let current = "";
  const extensions = (label: string, syntax: Syntax | undefined, sharing?: Sharing) => [
    sharing ? sharing.extension : [history(), keymap.of(historyKeymap)],
    lineNumbers(),
    lintGutter(),
    drawSelection(),
    rectangularSelection(),
    highlightSpecialChars(),
    highlightActiveLine(),
    highlightActiveLineGutter(),
    bracketMatching(),
    closeBrackets(),
    indentOnInput(),
    typingOver,
    EditorState.allowMultipleSelections.of(true),
    indentUnit.of(syntax?.indent || "    "),
    EditorState.tabSize.of(4),
    // Ctrl+Enter runs, wherever on the page.
    Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => true }])),
    keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...lintKeymap, indentWithTab]),
    syntax ? language(syntax) : [],
    syntaxHighlighting(colours),
    look,
    EditorView.contentAttributes.of({ "aria-label": label, "aria-describedby": "editor-hint", spellcheck: "false", tabindex: "0" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) onChange(update.state.doc.toString());
    }),
  ];
  const view = new EditorView({ root, parent: root, state: EditorState.create() });
  return {
    show(key, label, text, syntax, sharing) {
      if (current) states.set(current, view.state);
      const known = states.get(key);
      current = sharing ? "" : key;
      const fresh = () => EditorState.create({ doc: text, selection: sharing?.selection, extensions: extensions(label, syntax, sharing) });
      view.setState(!sharing && known?.doc.toString() === text ? known : fresh());
    },
    forget() {
      states.clear();
      current = "";
    },
    complain(errors, warnings) {
      const of = (severity: "error" | "warning") => (it: Complaint) => place(view.state, it, severity);
      view.dispatch(setDiagnostics(view.state, [...errors.map(of("error")), ...warnings.map(of("warning"))]));
    },
    goTo(line, column) {
      const at = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
      const anchor = Math.min(at.from + Math.max(column - 1, 0), at.to);
      view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
      view.focus();
    },
    focus: () => view.focus(),
    close: () => view.destroy(),
  };
}

/**
 * What is typed over a selection is put in here. A browser that does it itself may wrap it into an element with a
 * style, to look as what was there, and the page's policy refuses that and says so.
 */
const typingOver = EditorView.domEventHandlers({
  beforeinput({ data, inputType, isComposing }, view) {
    const { selection, readOnly } = view.state;
    if (inputType !== "insertText" || !data || isComposing || readOnly || selection.ranges.every((it) => it.empty)) return false;
    const { from, to } = selection.main;
    const insert = () => view.state.update(view.state.replaceSelection(data), { scrollIntoView: true, userEvent: "input.type" });
    const isHandled = view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, data, insert));
    if (!isHandled) view.dispatch(insert());
    return true;
  },
});

/** Where a complaint is: its word, or its line if it names no column. */
function place(state: EditorState, it: Complaint, severity: "error" | "warning"): Diagnostic {
  const line = state.doc.line(Math.min(Math.max(it.line, 1), state.doc.lines));
  const start = it.column > 0 ? Math.min(line.from + it.column - 1, line.to) : line.from + (/^\s*/.exec(line.text)?.[0].length ?? 0);
  const word = state.wordAt(start);
  const after = word && word.to > start ? word.to : Math.min(start + 1, line.to);
  const end = it.column > 0 ? after : line.to;
  const message = it.code ? `${it.message} (${it.code})` : it.message;
  // What is missing at the end of a line is shown at the last sign before it.
  const from = start < end ? start : Math.max(line.from, end - 1);
  return { from, to: end, severity, message };
}
