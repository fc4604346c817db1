/**
 * What a program writes, as it comes. Pieces become texts in elements, so nothing that a program writes is
 * ever read as HTML; what comes within a frame is drawn together.
 */
import { Ansi, type Look, type Piece } from "../lib/ansi";

/** Beyond so many characters the page would be slow; the gateway keeps no more of a stream either. */
const CHARACTERS_MAX = 2 << 20;
/** Places in a log that lead to lines of the sources. */
const LINKS_MAX = 500;

export type Stream = "stdout" | "stderr" | "note";

export class Log {
  #host: HTMLElement;
  #parsers: Record<Stream, Ansi> = { stdout: new Ansi(), stderr: new Ansi(), note: new Ansi() };
  #waiting: { stream: Stream; text: string }[] = [];
  #frame = 0;
  #line: HTMLElement | undefined;
  #isFresh = false;
  #characters = 0;
  #isFull = false;
  /** Called after something was drawn. */
  onDraw: () => void = () => undefined;

  constructor(host: HTMLElement) {
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
    this.#waiting = [];
    // Who reads further up stays there.
    const isAtEnd = this.#host.scrollHeight - this.#host.scrollTop - this.#host.clientHeight < 32;
    for (const { stream, text } of waiting) {
      for (const piece of this.#parsers[stream].push(text)) this.#draw(stream, piece);
    }
    if (isAtEnd) this.#host.scrollTop = this.#host.scrollHeight;
    if (waiting.length > 0) this.onDraw();
  }

  clear(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#waiting = [];
    this.#parsers = { stdout: new Ansi(), stderr: new Ansi(), note: new Ansi() };
    this.#host.replaceChildren();
    this.#line = undefined;
    this.#isFresh = false;
    this.#characters = 0;
    this.#isFull = false;
  }

  get isEmpty(): boolean {
    return this.#host.childElementCount === 0;
  }

  #draw(stream: Stream, piece: Piece): void {
    if (piece.kind === "clear") {
      this.#host.replaceChildren();
      this.#line = undefined;
      return;
    }
    if (this.#isFull) return;
    if (piece.kind === "line") {
      this.#current().append("\n");
      this.#line = undefined;
      this.#isFresh = false;
      return;
    }
    if (piece.kind === "return") {
      this.#isFresh = true;
      return;
    }
    const line = this.#current();
    if (this.#isFresh) line.replaceChildren();
    this.#isFresh = false;
    this.#characters += piece.text.length;
    if (this.#characters > CHARACTERS_MAX) {
      this.#isFull = true;
      line.append(element("note", {}, "\n… more was written than this page shows"));
      return;
    }
    line.append(element(stream, piece.look, piece.text));
  }

  #current(): HTMLElement {
    if (!this.#line) {
      this.#line = document.createElement("div");
      this.#line.className = "log-line";
      this.#host.append(this.#line);
    }
    return this.#line;
  }

  /** Makes places such as `main.x:12:3` lead to the lines of these files. */
  link(paths: string[], onLink: (path: string, line: number, column: number) => void): void {
    if (paths.length === 0) return;
    const names = [...paths].sort((a, b) => b.length - a.length).map((it) => it.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`(${names.join("|")})(?::|", line |\\()(\\d{1,6})(?::(\\d{1,6}))?`, "g");
    let count = 0;
    for (const span of this.#host.querySelectorAll<HTMLElement>(".stderr")) {
      const text = span.textContent ?? "";
      const matches = [...text.matchAll(pattern)].slice(0, LINKS_MAX - count);
      if (matches.length === 0) continue;
      count += matches.length;
      const parts: (string | Node)[] = [];
      let at = 0;
      for (const found of matches) {
        const [whole, path = "", line, column] = found;
        parts.push(text.slice(at, found.index));
        const button = document.createElement("button");
        button.type = "button";
        button.className = "log-link";
        button.textContent = whole;
        button.addEventListener("click", () => onLink(path, Number(line), Number(column ?? 1)));
        parts.push(button);
        at = found.index + whole.length;
      }
      parts.push(text.slice(at));
      span.replaceChildren(...parts);
    }
  }
}

function element(stream: Stream, look: Look, text: string): HTMLElement {
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
