/** What is written on the page: programs, and what they are run with. Nothing here touches the page itself. */
export interface File {
  path: string;
  content: string;
}

/** What is kept of one language. */
export interface Draft {
  files: File[];
  /** As in a shell: words, and quotes around those with spaces. */
  args: string;
  input: string;
}

export interface Limits {
  /** Seconds; without any it is what suits: longer where somebody types. */
  timeout?: number | undefined;
  memoryMb: number;
  /** What to bring back, such as `*.png`. */
  bring: string;
}

/** Seconds that a program may compute where nothing else is said. */
export const SECONDS = 10;

export const LIMITS: Limits = { memoryMb: 128, bring: "*.png *.svg *.jpg *.gif *.webp" };

export interface StringSyntax {
  open: string;
  close: string;
  lines: boolean;
  raw: boolean;
  short: boolean;
}

export interface Syntax {
  comments: string[];
  blocks: [string, string][];
  strings: StringSyntax[];
  keywords: string[];
  types: string[];
  constants: string[];
  marks: string[];
  directives: string[];
  indent: string;
  openers: string[];
}

export interface Example {
  name: string;
  files: File[];
  args: string[];
  inputData: string;
}

/** What `GET /v1/languages` says of one. */
export interface Language {
  id: string;
  aliases: string[];
  entry: string;
  example: string;
  examples: Example[];
  syntax?: Syntax;
  versions: string[];
  features: string[];
  limits: { timeoutMaxSeconds?: number; memoryMaxMb?: number };
  isolation: string;
  available: boolean;
}

export function draftOf(language: Language): Draft {
  return { files: [{ path: language.entry, content: `${language.example.trim()}\n` }], args: "", input: "" };
}

export function draftOfExample(example: Example): Draft {
  return { files: example.files.map((it) => ({ ...it })), args: joined(example.args), input: example.inputData };
}

/** Arguments from a line, as a shell splits it, without anything else that a shell does. */
export function split(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at += 1) {
    const sign = line[at] ?? "";
    if (quote) {
      if (sign === quote) quote = "";
      else if (sign === "\\" && quote === '"' && /["\\]/.test(line[at + 1] ?? "")) word += line[(at += 1)] ?? "";
      else word += sign;
    } else if (sign === "'" || sign === '"') {
      quote = sign;
      word ??= "";
    } else if (/\s/.test(sign)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (sign === "\\" && at + 1 < line.length) {
      word = (word ?? "") + (line[(at += 1)] ?? "");
    } else word = (word ?? "") + sign;
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** The line that splits into these words. */
export function joined(words: string[]): string {
  return words.map((it) => (/^[\w./:=@%+,-]+$/.test(it) ? it : quoted(it))).join(" ");
}

/** A word as a shell reads it. */
export const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Why a file cannot be called so, if it cannot. */
export function wrongPath(path: string, others: string[]): string | undefined {
  if (path === "") return "Give it a name.";
  if (path.length > 200) return "The name is too long.";
  if (path.startsWith("/") || path.split("/").some((it) => it === "" || it === "." || it === ".."))
    return "A name is relative, without `.` and `..`.";
  if (/[\u0000-\u001f\\]/.test(path)) return "A name has no `\\` and no control characters.";
  if (others.includes(path)) return "There is a file of this name already.";
  if (others.some((it) => it.startsWith(`${path}/`) || path.startsWith(`${it}/`))) return "A file and a folder cannot have one name.";
  return undefined;
}

/** A name for one more file. */
export function freshPath(files: { path: string }[], entry: string): string {
  const ending = /\.[^./]+$/.exec(entry)?.[0] ?? "";
  for (let number = 1; ; number += 1) {
    const path = `file${number === 1 ? "" : number}${ending}`;
    if (!files.some((it) => it.path === path)) return path;
  }
}

/** The body of `POST /v1/execute`. */
export function requestOf(
  language: Pick<Language, "id" | "entry">,
  version: string | undefined,
  draft: Draft,
  limits: Limits,
): Record<string, unknown> {
  const args = split(draft.args);
  const bring = limits.bring.split(/[\s,]+/).filter(Boolean);
  return {
    ...checkOf(language, version, draft),
    ...(draft.input ? { inputData: draft.input } : {}),
    ...(args.length > 0 ? { args } : {}),
    timeout: limits.timeout ?? SECONDS,
    memoryLimit: limits.memoryMb,
    ...(bring.length > 0 ? { outputFiles: bring } : {}),
  };
}

/**
 * The body of `POST /v1/runs` for the same. A program without input is typed into while it runs, and one on a
 * terminal always is. Then it may wait for as long as the fleet lets it, and still compute no longer.
 */
export function runOf(body: Record<string, unknown>, limits: Limits, tty?: { cols: number; rows: number }): Record<string, unknown> {
  if (!tty && body.inputData !== undefined) return body;
  const { timeout, ...rest } = body;
  const time = limits.timeout === undefined ? { cpuTime: timeout } : { timeout };
  return { ...rest, ...time, ...(tty ? { tty } : { interactive: true }) };
}

/** The body of `POST /v1/validate`. */
export function checkOf(
  language: Pick<Language, "id" | "entry">,
  version: string | undefined,
  draft: Draft,
): Record<string, unknown> {
  const [first] = draft.files;
  // One file that was not renamed is called as its language wants it.
  const isNameless = draft.files.length === 1 && first?.path === language.entry && first.content !== "";
  const sources = isNameless ? { code: first.content } : { files: draft.files };
  return { language: language.id, ...(version ? { version } : {}), ...sources };
}

/** The same request for a shell. */
export function curl(origin: string, body: Record<string, unknown>, hasKey: boolean): string {
  const key = hasKey ? ` \\\n  -H "authorization: Bearer $FLOTILLA_KEY"` : "";
  return `curl -sN ${origin}/v1/execute -H 'content-type: application/json' -H 'accept: text/event-stream'${key} \\\n  -d ${quoted(JSON.stringify(body))}\n`;
}
