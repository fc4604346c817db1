/** A program as the part of an address behind `#`, which no server sees. */
import type { Draft, File } from "./program";

/** What an address may be long; beyond it chats and mails cut it. */
export const SHARE_MAX = 8 << 10;
/** What a shared program may unpack to. */
const PROGRAM_MAX = 1 << 20;

export interface Shared extends Draft {
  language: string;
}

export class TooLarge extends Error {
  constructor(readonly length: number) {
    super(`The link would have ${length} characters, and ${SHARE_MAX} is the most that arrives everywhere.`);
  }
}

export async function pack(shared: Shared): Promise<string> {
  const compact = [1, shared.language, shared.files.map((it) => [it.path, it.content]), shared.args, shared.input];
  const text = new TextEncoder().encode(JSON.stringify(compact));
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const fragment = `program=${base64(packed)}`;
  if (fragment.length > SHARE_MAX) throw new TooLarge(fragment.length);
  return fragment;
}

/** What was packed; none if it is anything else. */
export async function unpack(fragment: string): Promise<Shared | undefined> {
  const encoded = /^#?program=([\w-]+)$/.exec(fragment)?.[1];
  if (!encoded || encoded.length > SHARE_MAX) return undefined;
  try {
    const packed = bytes(encoded);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return parse(JSON.parse(await bounded(stream)));
  } catch {
    return undefined;
  }
}

/** Reads no more than a program may have, whatever the link unpacks to. */
async function bounded(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > PROGRAM_MAX) {
      await reader.cancel();
      throw new TooLarge(text.length);
    }
  }
}

function parse(value: unknown): Shared | undefined {
  if (!Array.isArray(value) || value[0] !== 1) return undefined;
  const [, language, files, args, input] = value as unknown[];
  if (typeof language !== "string" || typeof args !== "string" || typeof input !== "string" || !Array.isArray(files)) return undefined;
  const parsed: File[] = [];
  for (const file of files) {
    if (!Array.isArray(file) || typeof file[0] !== "string" || typeof file[1] !== "string") return undefined;
    parsed.push({ path: file[0], content: file[1] });
  }
  return parsed.length === 0 ? undefined : { language, files: parsed, args, input };
}

function base64(data: Uint8Array): string {
  let text = "";
  for (const byte of data) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (it) => it.charCodeAt(0));
}
