/**
 * A program as a link: as the part of an address behind `#`, which no server sees, or, where it is too long for
 * that, kept by the gateway under a name that its content gives it.
 */
import { get, post, Problem } from "../lib/api";
import type { Draft, File } from "./program";

/** What an address may be long; beyond it chats and mails cut it. */
export const SHARE_MAX = 8 << 10;
/** What a shared program may unpack to. */
const PROGRAM_MAX = 1 << 20;

export interface Shared extends Draft {
  language: string;
}

export interface ShareLink {
  /** Its path and what follows. */
  href: string;
  /** Whether the gateway keeps the program; otherwise the link holds it. */
  isStored: boolean;
}

export class TooLarge extends Error {}

/** A link to a program. Throws `TooLarge` where there can be none, and a `Problem` where the gateway fails. */
export async function linkTo(shared: Shared): Promise<ShareLink> {
  const fragment = await pack(shared);
  if (fragment.length <= SHARE_MAX) return { href: `/play#${fragment}`, isStored: false };
  const { language, files, args, input } = shared;
  try {
    const { id } = await post<{ id: string }>("/v1/snippets", { version: 1, language, files, args, input });
    return { href: `/play?snippet=${encodeURIComponent(id)}`, isStored: true };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // A gateway that keeps no programs.
    if (error.code === "no_store" || [404, 405, 501].includes(error.status)) {
      throw new TooLarge(`The link would have ${fragment.length} characters, ${SHARE_MAX} is the most that arrives everywhere, and this gateway keeps no programs.`);
    }
    if (error.status === 413) throw new TooLarge("The program is larger than what the gateway keeps.");
    throw error;
  }
}

/** The program that a gateway keeps by this name; none if it is no program. */
export async function kept(id: string): Promise<Shared | undefined> {
  const value = await get<Record<string, unknown>>(`/v1/snippets/${encodeURIComponent(id)}`);
  const { language, files, args, input } = value;
  const pairs = Array.isArray(files) ? files.map((it) => [it?.path, it?.content]) : files;
  return parse([value.version, language, pairs, args, input]);
}

/** A program as what stands behind `#`. */
export async function pack(shared: Shared): Promise<string> {
  const compact = [1, shared.language, shared.files.map((it) => [it.path, it.content]), shared.args, shared.input];
  const text = new TextEncoder().encode(JSON.stringify(compact));
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  return `program=${base64(packed)}`;
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
      throw new TooLarge("It unpacks to too much.");
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
