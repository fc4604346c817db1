/**
 * Colours the sources of any language by what its executor says of them: its words, texts and comments. It
 * knows no language itself.
 */
import { indentService, StreamLanguage, type StreamParser } from "@codemirror/language";
import type { Extension } from "@codemirror/state";

import type { StringSyntax, Syntax } from "./program";

/** What goes on at the end of a line. */
export interface State {
  /** Within a comment of several lines: what ends it. */
  block: string | undefined;
  /** Within a text of several lines. */
  text: StringSyntax | undefined;
}

/** What the tokenizer needs of a line; CodeMirror's stream is one. */
export interface Line {
  pos: number;
  string: string;
  sol(): boolean;
  eol(): boolean;
  skipToEnd(): void;
}

const NUMBER = /^(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w*/;
const WORD = /^[\p{L}_$][\p{L}\p{N}_$]*/u;
const OPEN = /[{([]\s*$/;

export function tokenizer(syntax: Syntax): (line: Line, state: State) => string | null {
  const keywords = new Set(syntax.keywords);
  const types = new Set(syntax.types);
  const constants = new Set(syntax.constants);
  const starts = (line: Line, text: string) => text !== "" && line.string.startsWith(text, line.pos);

  return (line, state) => {
    if (state.block !== undefined) return rest(line, state, state.block);
    if (state.text) return text(line, state, state.text);
    if (line.string.slice(0, line.pos).trim() === "" && syntax.directives.some((it) => line.string.slice(line.pos).trimStart().startsWith(it))) {
      line.skipToEnd();
      return "meta";
    }
    const space = /^\s+/.exec(line.string.slice(line.pos));
    if (space) {
      line.pos += space[0].length;
      return null;
    }
    if (syntax.comments.some((it) => starts(line, it))) {
      line.skipToEnd();
      return "comment";
    }
    for (const [open, close] of syntax.blocks) {
      if (!starts(line, open)) continue;
      line.pos += open.length;
      return rest(line, state, close);
    }
    for (const it of syntax.strings) {
      if (!starts(line, it.open) || (it.short && !isShort(line, it))) continue;
      line.pos += it.open.length;
      return text(line, state, it);
    }
    const left = line.string.slice(line.pos);
    for (const mark of syntax.marks) {
      const word = left.startsWith(mark) ? WORD.exec(left.slice(mark.length)) : null;
      if (!word) continue;
      line.pos += mark.length + word[0].length;
      return "meta";
    }
    const number = NUMBER.exec(left);
    if (number) {
      line.pos += number[0].length;
      return "number";
    }
    const word = WORD.exec(left)?.[0];
    if (word) {
      line.pos += word.length;
      return kind(word, left.slice(word.length));
    }
    line.pos += 1;
    return null;
  };

  function kind(word: string, after: string): string | null {
    if (keywords.has(word)) return "keyword";
    if (constants.has(word)) return "atom";
    if (types.has(word)) return "typeName";
    if (/^(?:\(|![([{])/.test(after)) return "variableName.function";
    return /^\p{Lu}/u.test(word) && /\p{Ll}/u.test(word) ? "typeName" : null;
  }
}

/** The rest of a comment, to its end or that of the line. */
function rest(line: Line, state: State, close: string): string {
  const end = line.string.indexOf(close, line.pos);
  if (end < 0) {
    line.skipToEnd();
    state.block = close;
  } else {
    line.pos = end + close.length;
    state.block = undefined;
  }
  return "comment";
}

function text(line: Line, state: State, it: StringSyntax): string {
  while (!line.eol()) {
    if (!it.raw && line.string[line.pos] === "\\") {
      line.pos = Math.min(line.pos + 2, line.string.length);
    } else if (line.string.startsWith(it.close, line.pos)) {
      line.pos += it.close.length;
      state.text = undefined;
      return "string";
    } else line.pos += 1;
  }
  state.text = it.lines ? it : undefined;
  return "string";
}

/** Whether a text of one character begins here, and not something that looks like it. */
function isShort(line: Line, it: StringSyntax): boolean {
  const inside = line.string.slice(line.pos + it.open.length);
  const end = inside.startsWith("\\") ? inside.indexOf(it.close, 2) : [...inside].slice(0, 1).join("").length;
  return end > 0 && inside.startsWith(it.close, end);
}

export function language(syntax: Syntax): Extension {
  const token = tokenizer(syntax);
  const [block] = syntax.blocks;
  const parser: StreamParser<State> = {
    startState: () => ({ block: undefined, text: undefined }),
    copyState: (state) => ({ ...state }),
    token: (stream, state) => token(stream as unknown as Line, state),
    languageData: {
      commentTokens: {
        ...(syntax.comments[0] ? { line: syntax.comments[0] } : {}),
        ...(block ? { block: { open: block[0], close: block[1] } } : {}),
      },
    },
  };
  return [StreamLanguage.define(parser), indents(syntax)];
}

/** A line is indented as the one before it, one level more after what opens one, and less if it closes one. */
function indents(syntax: Syntax): Extension {
  const opens = (text: string) => OPEN.test(text) || syntax.openers.some((it) => text.trimEnd().endsWith(it));
  return indentService.of((context, pos) => {
    const line = context.lineAt(pos);
    const document = context.state.doc;
    let number = document.lineAt(pos).number - (context.simulatedBreak === pos ? 0 : 1);
    let before = context.simulatedBreak === pos ? document.sliceString(document.lineAt(pos).from, pos) : "";
    while (before.trim() === "" && number > 0) {
      before = document.line(number).text;
      number -= 1;
    }
    if (before.trim() === "") return 0;
    const column = context.countColumn(before, before.length - before.trimStart().length);
    const after = context.textAfterPos(pos, 1) || line.text;
    const closes = /^\s*[})\]]/.test(after);
    return Math.max(0, column + (opens(before) ? context.unit : 0) - (closes ? context.unit : 0));
  });
}
