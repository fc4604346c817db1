/**
 * What a terminal makes of escape sequences, as far as output needs it: colours and weights, a line that is
 * written anew, a screen that is cleared. It makes no HTML: whoever shows the pieces sets texts and classes.
 */
export interface Look {
  /** 0 to 15, or `#rrggbb`. */
  colour?: number | string;
  ground?: number | string;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  struck?: boolean;
  inverse?: boolean;
}

export type Piece =
  | { kind: "text"; text: string; look: Look }
  | { kind: "line" }
  /** What follows is written over this line. */
  | { kind: "return" }
  | { kind: "clear" };

/** The longest sequence that is waited for; anything longer is none. */
const SEQUENCE_MAX = 256;

export class Ansi {
  #look: Look = {};
  #rest = "";

  push(chunk: string): Piece[] {
    const text = this.#rest + chunk;
    this.#rest = "";
    const pieces: Piece[] = [];
    let plain = "";
    const flush = () => {
      if (plain) pieces.push({ kind: "text", text: plain, look: { ...this.#look } });
      plain = "";
    };
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 0x1b) {
        const sequence = read(text, at);
        if (sequence === undefined) {
          if (text.length - at > SEQUENCE_MAX) continue;
          this.#rest = text.slice(at);
          break;
        }
        flush();
        this.#apply(sequence, pieces);
        at += sequence.length - 1;
      } else if (code === 0x0a) {
        flush();
        pieces.push({ kind: "line" });
      } else if (code === 0x0d) {
        // Before the end of a line it means nothing, and what comes next is not known yet at the end.
        if (at + 1 === text.length) {
          this.#rest = "\r";
          break;
        }
        if (text.charCodeAt(at + 1) === 0x0a) continue;
        flush();
        pieces.push({ kind: "return" });
      } else if (code === 0x09 || code >= 0x20) {
        if (code !== 0x7f) plain += text[at];
      }
    }
    flush();
    return pieces;
  }

  #apply(sequence: string, pieces: Piece[]): void {
    const last = sequence.at(-1);
    if (sequence[1] !== "[") return;
    const numbers = sequence.slice(2, -1);
    if (last === "m") this.#style(numbers);
    else if (last === "J" && (numbers === "2" || numbers === "3")) pieces.push({ kind: "clear" });
    else if (last === "K" && (numbers === "2" || numbers === "1")) pieces.push({ kind: "return" });
  }

  #style(text: string): void {
    if (!/^[\d;:]*$/.test(text)) return;
    const parameters = text.split(";").map((it) => it.split(":").map(Number));
    for (let at = 0; at < parameters.length; at += 1) {
      // What belongs to a code stands behind it with colons, or for colours as parameters of their own.
      const [code = 0, ...parts] = parameters[at] ?? [];
      if (isColoured(code)) {
        const [colour, used] = parts.length > 0 ? [divided(parts), 0] : extended(parameters.slice(at + 1).map(([it = 0]) => it));
        if (colour !== undefined && code !== 58) this.#look[code === 38 ? "colour" : "ground"] = colour;
        at += used;
      } else if (parts.length === 0) this.#look = styled(this.#look, code);
      // How a line is drawn is not shown, but whether.
      else if (code === 4) this.#look = styled(this.#look, parts[0] === 0 ? 24 : 4);
    }
  }
}

/** Whether a colour follows: of the text, of its ground, or of the line below it, which is not shown. */
const isColoured = (code: number): boolean => code === 38 || code === 48 || code === 58;

/** A colour that stands behind its code with colons: before red may be the name of a colour space, mostly an empty one. */
function divided(parts: number[]): number | string | undefined {
  const [kind = 0, ...rest] = parts;
  return extended([kind, ...(kind === 2 && rest.length > 3 ? rest.slice(1) : rest)])[0];
}

function styled(look: Look, code: number): Look {
  const set = (changes: Look): Look => ({ ...look, ...changes });
  const without = (...names: (keyof Look)[]): Look => {
    const rest = { ...look };
    for (const name of names) delete rest[name];
    return rest;
  };
  if (code === 0) return {};
  if (code === 1) return set({ bold: true });
  if (code === 2) return set({ dim: true });
  if (code === 3) return set({ italic: true });
  if (code === 4) return set({ underline: true });
  if (code === 7) return set({ inverse: true });
  if (code === 9) return set({ struck: true });
  if (code === 22) return without("bold", "dim");
  if (code === 23) return without("italic");
  if (code === 24) return without("underline");
  if (code === 27) return without("inverse");
  if (code === 29) return without("struck");
  if (code >= 30 && code <= 37) return set({ colour: code - 30 });
  if (code === 39) return without("colour");
  if (code >= 40 && code <= 47) return set({ ground: code - 40 });
  if (code === 49) return without("ground");
  if (code >= 90 && code <= 97) return set({ colour: code - 90 + 8 });
  if (code >= 100 && code <= 107) return set({ ground: code - 100 + 8 });
  return look;
}

/** A colour of 256 or of 16 million, and how many numbers it took. */
function extended(codes: number[]): [number | string | undefined, number] {
  if (codes[0] === 5) return [indexed(codes[1] ?? 0), 2];
  if (codes[0] === 2) return [hexadecimal(codes.slice(1, 4)), 4];
  return [undefined, 0];
}

function indexed(index: number): number | string | undefined {
  if (index < 16) return index;
  if (index > 255) return undefined;
  if (index >= 232) return hexadecimal(Array(3).fill(8 + (index - 232) * 10));
  const level = (it: number) => (it === 0 ? 0 : 55 + it * 40);
  const cube = index - 16;
  return hexadecimal([level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)]);
}

function hexadecimal(parts: number[]): string {
  const digits = [0, 1, 2].map((it) => Math.min(255, parts[it] || 0).toString(16).padStart(2, "0"));
  return `#${digits.join("")}`;
}

/** The escape sequence that begins there; none while its end is missing. */
function read(text: string, at: number): string | undefined {
  const kind = text[at + 1];
  if (kind === undefined) return undefined;
  if (kind === "[") {
    for (let end = at + 2; end < text.length && end - at < SEQUENCE_MAX; end += 1) {
      const code = text.charCodeAt(end);
      if (code >= 0x40 && code <= 0x7e) return text.slice(at, end + 1);
      // A sign that no sequence has ends it, and is none of it.
      if (code < 0x20 || code > 0x7e) return text.slice(at, end);
    }
    return undefined;
  }
  if (kind === "]" || kind === "P" || kind === "_" || kind === "^") {
    for (let end = at + 2; end < text.length && end - at < SEQUENCE_MAX; end += 1) {
      if (text[end] === "\u0007") return text.slice(at, end + 1);
      if (text[end] === "\u001b" && text[end + 1] === "\\") return text.slice(at, end + 2);
    }
    return undefined;
  }
  return text.slice(at, at + 2);
}
