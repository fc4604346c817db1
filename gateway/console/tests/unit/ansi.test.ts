import { describe, expect, it } from "vitest";

import { Ansi, type Piece } from "../../page/lib/ansi";

/** Pieces in few signs: `red:text`, `|` for a new line, `<` for one that is written anew, `#` for a clear screen. */
function told(pieces: Piece[]): string {
  return pieces
    .map((it) => {
      if (it.kind === "line") return "|";
      if (it.kind === "return") return "<";
      if (it.kind === "clear") return "#";
      const look = Object.entries(it.look).map(([name, value]) => (value === true ? name : `${name}=${value}`));
      return look.length > 0 ? `(${look.join(" ")} ${it.text})` : it.text;
    })
    .join("");
}

function check(chunks: string[], expected: string) {
  const ansi = new Ansi();
  expect(told(chunks.flatMap((it) => ansi.push(it)))).toBe(expected);
}

describe("what a terminal would show", () => {
  it("tells colours and weights", () => {
    check(["\u001b[31mred\u001b[0m plain"], "(colour=1 red) plain");
    check(["\u001b[1;4;92mok\u001b[22m!"], "(bold underline colour=10 ok)(underline colour=10 !)");
    check(["\u001b[38;5;196mx\u001b[48;2;1;2;3my"], "(colour=#ff0000 x)(colour=#ff0000 ground=#010203 y)");
    check(["\u001b[mplain"], "plain");
  });

  it("reads what stands behind a code with colons as belonging to it", () => {
    check(["\u001b[38:2::255:100:31mx"], "(colour=#ff641f x)");
    check(["\u001b[38:2:255:100:31mx\u001b[48:5:196my"], "(colour=#ff641f x)(colour=#ff641f ground=#ff0000 y)");
    check(["\u001b[1;4:3mx\u001b[4:0my"], "(bold underline x)(bold y)");
    check(["\u001b[58:2::1:2:3mx\u001b[58;5;1my\u001b[7:9mz"], "xyz");
    check(["\u001b[38:2::255:100:31;1mx"], "(colour=#ff641f bold x)");
  });

  it("waits for the end of a sequence that is cut", () => {
    check(["a\u001b", "[3", "1mb"], "a(colour=1 b)");
    check(["a\r", "\nb"], "a|b");
    check(["10%\r", "20%"], "10%<20%");
  });

  it("drops what it does not know, and everything that is not shown", () => {
    check(["a\u001b[?25lb\u001b]0;title\u0007c\u001b[12;40Hd\u0000\u0008e"], "abcde");
    check(["\u001b[2Jnew"], "#new");
    check(["\u001b[<script>x"], "cript>x");
  });

  it("does not wait for ever", () => {
    const ansi = new Ansi();
    ansi.push(`\u001b]${"x".repeat(300)}`);
    expect(told(ansi.push("after"))).toBe("after");
  });

  it("keeps signs as they are, whatever they would mean elsewhere", () => {
    check(["<img src=x onerror=alert(1)>"], "<img src=x onerror=alert(1)>");
  });
});
