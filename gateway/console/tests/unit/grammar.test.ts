import { expect, it } from "vitest";

import { type Line, type State, tokenizer } from "../../page/play/grammar";
import type { StringSyntax, Syntax } from "../../page/play/program";

const string = (open: string, close: string, more: Partial<StringSyntax> = {}): StringSyntax => ({
  open,
  close,
  lines: false,
  raw: false,
  short: false,
  ...more,
});

const syntax: Syntax = {
  comments: ["//"],
  blocks: [["/*", "*/"]],
  strings: [string('"""', '"""', { lines: true }), string('r"', '"', { raw: true }), string('"', '"'), string("'", "'", { short: true })],
  keywords: ["if", "let"],
  types: ["int"],
  constants: ["true"],
  marks: ["@"],
  directives: ["#"],
  indent: "  ",
  openers: [":"],
};

/** Every piece of some lines that has a kind, as `kind:text`. */
function pieces(...lines: string[]): string[] {
  const token = tokenizer(syntax);
  const state: State = { block: undefined, text: undefined };
  return lines.flatMap((text) => {
    const found: string[] = [];
    const line: Line = {
      pos: 0,
      string: text,
      sol: () => line.pos === 0,
      eol: () => line.pos >= text.length,
      skipToEnd: () => {
        line.pos = text.length;
      },
    };
    while (!line.eol()) {
      const from = line.pos;
      const kind = token(line, state);
      expect(line.pos, `no step at ${from} of ${text}`).toBeGreaterThan(from);
      if (kind) found.push(`${kind}:${text.slice(from, line.pos)}`);
    }
    return found;
  });
}

it("tells words, numbers and comments apart", () => {
  expect(pieces("let x = 0xff + f(true) // if")).toEqual([
    "keyword:let",
    "number:0xff",
    "variableName.function:f",
    "atom:true",
    "comment:// if",
  ]);
  expect(pieces("int iffy Point @mark note!(1.5e3)")).toEqual([
    "typeName:int",
    "typeName:Point",
    "meta:@mark",
    "variableName.function:note",
    "number:1.5e3",
  ]);
});

it("takes texts from the longest beginning", () => {
  expect(pieces('"a \\" b" """c', 'd" """ if')).toEqual(['string:"a \\" b"', 'string:"""c', 'string:d" """', "keyword:if"]);
  expect(pieces('r"\\" if')).toEqual(['string:r"\\"', "keyword:if"]);
});

it("ends a text of one line with the line", () => {
  expect(pieces('"open', "if")).toEqual(['string:"open', "keyword:if"]);
});

it("tells a sign from what only looks like one", () => {
  expect(pieces("'a' '\\n' 'name if")).toEqual(["string:'a'", "string:'\\n'", "keyword:if"]);
});

it("goes on with a comment of several lines", () => {
  expect(pieces("/* a", "b */ if", "#include x")).toEqual(["comment:/* a", "comment:b */", "keyword:if", "meta:#include x"]);
});
