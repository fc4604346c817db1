/**
 * What a program writes, as it comes. Pieces become texts in elements, so nothing that a program writes is
 * ever read as HTML. What comes within a frame is drawn together, and of a flood only its end.
 */
import { Ansi, type Look, type Piece } from "../lib/ansi";
import { plural } from "../lib/format";

/** Lines that are shown, and pieces of one look in them; with more the page would be slow. */
const MOST = { lines: 10_000, pieces: 20_000 };
/** Lines that come and go together, and their pieces. */
const BLOCK = { lines: 100, pieces: 1000 };
/** A longer line goes on in the next one. */
const LINE_CHARACTERS_MAX = 8 << 10;
const CHARACTERS_MAX = 2 << 20;
/** What a path is made of. */
const IN_PATHS = "[\\p{L}\\p{N}_.@~+/\\\\-]";
/** The run's own directory, as programs see it or, where they have no file tree of their own, where it is. */
const OWN = "(?:file://)?(?:/[\\p{L}\\p{N}_.@~+-]+)*/work/|\\./";
/** Places in a log that lead to lines of the sources. */
const LINKS_MAX = 500;

/** Where it comes from; `author` is who typed what follows. */
export type Stream = "stdout" | "stderr" | "stdin" | "author";

interface Part {
  stream: Stream;
  look: Look;
  text: string;
}

/** A line that is to be drawn, or to be drawn on. */
interface Line {
  element: HTMLElement | undefined;
  parts: Part[];
  length: number;
  /** Whether it is written anew. */
  isAnew: boolean;
  isEnded: boolean;
}

/** How much there is. */
interface Amount {
  lines: number;
  pieces: number;
  characters: number;
}

interface Block extends Amount {
  element: HTMLElement;
}

export class Log {
  readonly #host: HTMLElement;
  #parsers = parsers();
  #waiting: { stream: Stream; text: string }[] = [];
  #frame = 0;
  #blocks: Block[] = [];
  /** The line that is not ended yet. */
  #open: Line | undefined;
  #isReturned = false;
  #shown: Amount = { lines: 0, pieces: 0, characters: 0 };
  #gone = 0;
  #notice: HTMLElement | undefined;

  constructor(
    host: HTMLElement,
    /** Has all that was written saved, what is not shown here as well. */
    readonly onSave: () => void = () => undefined,
    readonly most = MOST,
  ) {
    this.#host = host;
  }

  write(stream: Stream, text: string): void {
    this.#waiting.push({ stream, text });
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.flush());
  }

  /** Draws what waits at once. */
  flush(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    // Who reads further up stays there.
    const isAtEnd = this.#host.scrollHeight - this.#host.scrollTop - this.#host.clientHeight < 32;
    const lines: Line[] = this.#open ? [this.#open] : [];
    for (const { stream, text } of waiting) {
      for (const piece of this.#parsers[stream].push(text)) this.#add(lines, stream, piece);
    }
    this.#draw(lines);
    if (isAtEnd) this.#host.scrollTop = this.#host.scrollHeight;
  }

  clear(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#waiting = [];
    this.#parsers = parsers();
    this.#isReturned = false;
    this.#empty();
    this.#gone = 0;
  }

  /** Adds a piece to the last line, or begins others. */
  #add(lines: Line[], stream: Stream, piece: Piece): void {
    if (piece.kind === "clear") {
      lines.length = 0;
      this.#empty();
    } else if (piece.kind === "return") {
      this.#isReturned = true;
    } else {
      let line = lines.at(-1);
      if (!line || line.isEnded) lines.push((line = empty()));
      if (piece.kind === "line") {
        line.isEnded = true;
        this.#isReturned = false;
        return;
      }
      if (this.#isReturned) Object.assign(line, { parts: [], length: 0, isAnew: true });
      this.#isReturned = false;
      for (let at = 0; at < piece.text.length; ) {
        if (line.length >= LINE_CHARACTERS_MAX) {
          line.isEnded = true;
          lines.push((line = empty()));
        }
        const text = piece.text.slice(at, at + LINE_CHARACTERS_MAX - line.length);
        append(line.parts, { stream, look: piece.look, text });
        line.length += text.length;
        at += text.length;
      }
    }
  }

  #draw(lines: Line[]): void {
    const skipped = this.#surplus(lines);
    if (skipped > 0) {
      this.#gone += this.#shown.lines + skipped - (lines[0]?.element ? 1 : 0);
      this.#empty();
      lines = lines.slice(skipped);
    }
    for (const line of lines) {
      const element = line.element ?? this.#begin();
      if (line.isAnew && line.element) {
        this.#count({ lines: 0, pieces: -element.childElementCount, characters: -(element.textContent?.length ?? 0) });
        element.replaceChildren();
      }
      this.#count({ lines: 0, pieces: line.parts.length, characters: line.parts.reduce((sum, it) => sum + it.text.length, 0) });
      element.append(...line.parts.map(spanOf));
      // An empty line would have no height, and be lost when it is copied.
      if (line.isEnded && !element.hasChildNodes()) element.append(document.createElement("br"));
      Object.assign(line, { element, parts: [], isAnew: false });
    }
    const last = lines.at(-1);
    this.#open = last && !last.isEnded ? last : undefined;
    this.#trim();
  }

  /** How many lines from the first on are not worth drawing, as they would be taken away at once. */
  #surplus(lines: Line[]): number {
    let at = lines.length;
    for (let pieces = 0; at > 0 && lines.length - at < this.most.lines; at -= 1) {
      pieces += lines[at - 1]?.parts.length ?? 0;
      if (pieces > this.most.pieces) break;
    }
    return at;
  }

  #begin(): HTMLElement {
    let block = this.#blocks.at(-1);
    if (!block || block.lines >= BLOCK.lines || block.pieces >= BLOCK.pieces) {
      block = { element: document.createElement("div"), lines: 0, pieces: 0, characters: 0 };
      block.element.className = "log-block";
      this.#blocks.push(block);
      this.#host.append(block.element);
    }
    const line = document.createElement("div");
    line.className = "log-line";
    block.element.append(line);
    this.#count({ lines: 1, pieces: 0, characters: 0 });
    return line;
  }

  /** What is drawn on is always in the last block. */
  #count(amount: Amount): void {
    const block = this.#blocks.at(-1);
    if (block) add(block, amount, 1);
    add(this.#shown, amount, 1);
  }

  /** Takes the oldest lines away where there are too many, and says so. */
  #trim(): void {
    while (this.#blocks.length > 1 && this.#isTooMuch()) {
      const oldest = this.#blocks.shift();
      if (!oldest) break;
      oldest.element.remove();
      add(this.#shown, oldest, -1);
      this.#gone += oldest.lines;
    }
    if (this.#gone === 0) return;
    this.#notice ??= this.#notify();
    this.#notice.textContent = `${plural(this.#gone, "earlier line")} not shown`;
  }

  /** Where it is told what is missing, beside the way to have it. */
  #notify(): HTMLElement {
    const row = document.createElement("p");
    row.className = "log-gone";
    const notice = document.createElement("span");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = "Save all";
    button.addEventListener("click", this.onSave);
    row.append(notice, button);
    this.#host.prepend(row);
    return notice;
  }

  #isTooMuch(): boolean {
    const { lines, pieces, characters } = this.#shown;
    return lines > this.most.lines || pieces > this.most.pieces || characters > CHARACTERS_MAX;
  }

  #empty(): void {
    this.#host.replaceChildren();
    this.#blocks = [];
    this.#open = undefined;
    this.#notice = undefined;
    this.#shown = { lines: 0, pieces: 0, characters: 0 };
  }

  /** Makes places such as `main.x:12:3` lead to the lines of these files. Files of the same name elsewhere are others. */
  link(paths: string[], onLink: (path: string, line: number, column: number) => void): void {
    if (paths.length === 0) return;
    const names = [...paths].sort((a, b) => b.length - a.length).map((it) => it.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`(?<!${IN_PATHS})(${OWN})?(${names.join("|")})(?::|", line |\\()(\\d{1,6})(?::(\\d{1,6}))?`, "gu");
    let count = 0;
    for (const span of this.#host.querySelectorAll<HTMLElement>(".stderr")) {
      const text = span.textContent ?? "";
      // A path may begin in another colour.
      const before = span.previousElementSibling;
      const left = before?.classList.contains("stderr") ? (before.textContent?.at(-1) ?? "") : "";
      const matches = [...`${left}${text}`.matchAll(pattern)].slice(0, LINKS_MAX - count);
      if (matches.length === 0) continue;
      count += matches.length;
      const parts: (string | Node)[] = [];
      let at = 0;
      for (const found of matches) {
        const [whole, own = "", path = "", line, column] = found;
        const start = found.index - left.length + own.length;
        const end = found.index - left.length + whole.length;
        parts.push(text.slice(at, start));
        const button = document.createElement("button");
        button.type = "button";
        button.className = "log-link";
        button.textContent = text.slice(start, end);
        button.addEventListener("click", () => onLink(path, Number(line), Number(column ?? 1)));
        parts.push(button);
        at = end;
      }
      parts.push(text.slice(at));
      span.replaceChildren(...parts);
    }
  }
}

const parsers = (): Record<Stream, Ansi> => ({
  stdout: new Ansi(),
  stderr: new Ansi(),
  stdin: new Ansi(),
  author: new Ansi(),
});

const empty = (): Line => ({ element: undefined, parts: [], length: 0, isAnew: false, isEnded: false });

/** Adds a part, or makes the last one longer if it looks the same. */
function append(parts: Part[], part: Part): void {
  const last = parts.at(-1);
  if (last && last.stream === part.stream && isSame(last.look, part.look)) last.text += part.text;
  else parts.push(part);
}

const LOOKS = ["colour", "ground", "bold", "dim", "italic", "underline", "struck", "inverse"] as const;
const isSame = (one: Look, other: Look): boolean => LOOKS.every((it) => one[it] === other[it]);

function add(to: Amount, amount: Amount, factor: number): void {
  to.lines += factor * amount.lines;
  to.pieces += factor * amount.pieces;
  to.characters += factor * amount.characters;
}

function spanOf({ stream, look, text }: Part): HTMLElement {
  const span = document.createElement("span");
  const classes: string[] = [stream];
  let { colour, ground } = look;
  if (look.inverse) [colour, ground] = [ground ?? "inverse", colour ?? "inverse"];
  if (typeof colour === "number") classes.push(`fg-${colour}`);
  else if (colour === "inverse") classes.push("fg-inverse");
  else if (colour) span.style.color = colour;
  if (typeof ground === "number") classes.push(`bg-${ground}`);
  else if (ground === "inverse") classes.push("bg-inverse");
  else if (ground) span.style.backgroundColor = ground;
  for (const name of ["bold", "dim", "italic", "underline", "struck"] as const) if (look[name]) classes.push(name);
  span.className = classes.join(" ");
  span.textContent = text;
  return span;
}
