/** A run as a gateway has it, with sockets to it that can be cut at any time. What is on its way then is lost. */
interface Said {
  t: string;
  data?: string;
  typist?: string;
  from?: number;
  name?: string;
  cols?: number;
  rows?: number;
}

const LATENCY_MS = 10;

export class Gateway {
  readonly log: string[] = [];
  readonly sockets: FakeSocket[] = [];
  readonly signals: string[] = [];
  readonly sizes: string[] = [];
  /** What was typed, in order. */
  typed = "";
  /** Bytes of each who typed. */
  readonly #taken = new Map<string, number>();
  ends = 0;
  isOnline = true;
  /** Why connections are refused once they are there. */
  refusal: { code: number; reason: string } | undefined;
  /** Whether it says from where on something is missing. */
  tellsGaps = true;
  /** Whether what is typed is refused for want of room. */
  isFull = false;

  add(event: Record<string, unknown>): void {
    this.log.push(JSON.stringify({ seq: this.log.length + 1, ...event }));
    for (const socket of this.sockets) socket.pump();
  }

  write(data: string): void {
    this.add({ t: "stdout", data });
  }

  readonly open = (address: string): WebSocket => {
    const socket = new FakeSocket(this, new URL(address));
    this.sockets.push(socket);
    return socket as unknown as WebSocket;
  };

  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  cut(code = 1006, reason = ""): void {
    for (const socket of this.sockets) socket.cut(code, reason);
  }

  makeRoom(): void {
    this.isFull = false;
    this.socket.tell({ t: "stdin_ready", bytes: 0 });
  }

  hear(said: Said): Record<string, unknown> | undefined {
    if (said.t === "eof") {
      this.ends += 1;
      return { t: "accepted", bytes: 0 };
    }
    if (said.t === "signal") this.signals.push(said.name ?? "");
    else if (said.t === "resize") this.sizes.push(`${said.cols}x${said.rows}`);
    else if (said.t === "ping") return { t: "pong" };
    else return this.#take(new TextEncoder().encode(said.data), said);
    return undefined;
  }

  /** Loses what was typed last, as no gateway should. */
  lose(bytes: number): void {
    for (const [typist, taken] of this.#taken) this.#taken.set(typist, taken - bytes);
    this.typed = this.typed.slice(0, -bytes);
  }

  #take(bytes: Uint8Array, { data = "", typist = "", from = 0 }: Said): Record<string, unknown> {
    if (/\p{Surrogate}/u.test(data) || data === "refused") return { t: "error", code: "bad_message", detail: "unpaired surrogate" };
    const before = this.#taken.get(typist) ?? from;
    if (from > before) return { t: "error", code: "gap", detail: "", ...(this.tellsGaps ? { bytes: before } : {}) };
    const fresh = bytes.slice(before - from);
    if (fresh.length === 0) return { t: "accepted", bytes: before };
    if (this.ends > 0) return { t: "error", code: "stdin_closed", detail: "the program's input has ended" };
    if (this.isFull) return { t: "stdin_full", bytes: before };
    this.typed += new TextDecoder().decode(fresh);
    this.#taken.set(typist, before + fresh.length);
    return { t: "accepted", bytes: before + fresh.length };
  }
}

export class FakeSocket extends EventTarget {
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readyState = 0;
  /** Bytes in the log that were sent. */
  #sent: number;

  constructor(
    readonly gateway: Gateway,
    readonly address: URL,
  ) {
    super();
    this.#sent = Number(address.searchParams.get("since"));
    this.#later(() => {
      if (!gateway.isOnline) return this.cut(1006);
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
      if (gateway.refusal) return this.cut(gateway.refusal.code, gateway.refusal.reason);
      this.pump();
    });
  }

  /** Sends what is new in the log. */
  pump(): void {
    if (this.readyState !== 1) return;
    for (; this.#sent < this.gateway.log.length; this.#sent += 1) this.#deliver(this.gateway.log[this.#sent]!);
  }

  send(text: string): void {
    this.#later(() => {
      const answer = this.gateway.hear(JSON.parse(text));
      if (answer) this.tell(answer);
    });
  }

  tell(answer: Record<string, unknown>): void {
    this.#deliver(JSON.stringify(answer));
  }

  close(): void {
    this.readyState = 3;
  }

  cut(code = 1006, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }

  #deliver(data: string): void {
    this.#later(() => this.dispatchEvent(Object.assign(new Event("message"), { data })));
  }

  /** Does it a while later, unless the connection is cut until then. */
  #later(what: () => void): void {
    setTimeout(() => this.readyState !== 3 && what(), LATENCY_MS);
  }
}
