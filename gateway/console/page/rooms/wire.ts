/**
 * Messages of the Yjs sync protocol, as far as the page looks at them itself: what a side has (`step1`, a state
 * vector), what the other one lacked (`step2`), and a change. https://github.com/yjs/y-protocols
 */
export const SYNC = 0;
const KINDS = ["step1", "step2", "update"] as const;

export interface Said {
  kind: (typeof KINDS)[number];
  body: Uint8Array<ArrayBuffer>;
}

/** What a frame says of the document, if it is of this protocol. */
export function read(frame: Uint8Array): Said | undefined {
  const [protocol = SYNC + 1, afterProtocol] = number(frame, 0);
  const [step = KINDS.length, afterStep] = number(frame, afterProtocol);
  const [length = Number.POSITIVE_INFINITY, start] = number(frame, afterStep);
  const kind = KINDS[step];
  if (protocol !== SYNC || !kind || start + length > frame.length) return undefined;
  return { kind, body: new Uint8Array(frame.slice(start, start + length)) };
}

export function frame({ kind, body }: { kind: Said["kind"]; body: Uint8Array }): Uint8Array<ArrayBuffer> {
  const head = [SYNC, KINDS.indexOf(kind)];
  let length = body.length;
  // Numbers have seven bits a byte, and the eighth says that more follow.
  for (; length > 0x7f; length >>>= 7) head.push((length & 0x7f) | 0x80);
  return new Uint8Array([...head, length, ...body]);
}

/** The number at a place, nothing if it does not end there, and the place behind it. */
function number(bytes: Uint8Array, at: number): [number | undefined, number] {
  let value = 0;
  for (let place = 1; at < bytes.length; place *= 0x80) {
    const byte = bytes[at] ?? 0;
    at += 1;
    value += (byte & 0x7f) * place;
    if (byte < 0x80) return [value, at];
  }
  return [undefined, at];
}
