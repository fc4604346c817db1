/**
 * What is typed into a run, on its way there. One message is under way at a time; it says who types and how much
 * they have typed before it. Sent again after a lost connection it still counts once, whoever else types meanwhile.
 */
import { randomId } from "../lib/random";
import type { Answer } from "./event";

/** What is sent at a time, in characters: at most 64 KiB of UTF-8. */
const PIECE_MAX = 16 << 10;

/** What may wait here, in characters. */
const WAITING_MAX = 1 << 20;

interface UnderWay {
  text: string;
  from: number;
  bytes: number;
}

type Say = (message: Record<string, unknown>) => void;

export class Typing {
  #waiting = "";
  #hasEnded = false;
  #isEndSent = false;
  #underWay: UnderWay | undefined;
  #isFull = false;
  /** Bytes that the gateway took. */
  #taken = 0;
  readonly #typist = randomId();
  readonly #say: Say;

  constructor(say: Say) {
    this.#say = say;
  }

  /** False if so much waits that this is not taken. */
  type(text: string): boolean {
    if (this.#hasEnded) return true;
    if (this.#waiting.length + text.length > WAITING_MAX) return false;
    this.#waiting += text;
    this.next();
    return true;
  }

  end(): void {
    this.#hasEnded = true;
    this.next();
  }

  /** Sends what may be sent. */
  next(): void {
    if (this.#underWay || this.#isFull) return;
    if (this.#waiting) {
      const text = head(this.#waiting);
      this.#waiting = this.#waiting.slice(text.length);
      this.#underWay = { text, from: this.#taken, bytes: new TextEncoder().encode(text).length };
      this.#send();
    } else if (this.#hasEnded && !this.#isEndSent) {
      this.#isEndSent = true;
      this.#say({ t: "eof" });
    }
  }

  /** A connection is there again: says once more what may not have arrived. */
  again(): void {
    this.#isFull = false;
    // An input ends once, however often that is said.
    this.#isEndSent = false;
    if (this.#underWay) this.#send();
    else this.next();
  }

  hear(answer: Answer): void {
    if (answer.type === "refused") {
      // What the program cannot read any more is not kept for it.
      if (answer.code === "stdin_closed" || answer.code === "read_only" || answer.code === "not_interactive") {
        this.#underWay = undefined;
        this.#waiting = "";
      }
      return;
    }
    this.#isFull = answer.type === "full";
    const sent = this.#underWay;
    if (sent && answer.type === "ready") return this.#send();
    if (sent && answer.type === "accepted") {
      this.#taken = sent.from + sent.bytes;
      this.#underWay = undefined;
    }
    this.next();
  }

  #send(): void {
    const sent = this.#underWay;
    if (sent) this.#say({ t: "stdin", data: sent.text, typist: this.#typist, from: sent.from });
  }
}

/** The beginning of a text, without half a character at its end. */
function head(text: string): string {
  if (text.length <= PIECE_MAX) return text;
  const last = text.charCodeAt(PIECE_MAX - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? PIECE_MAX - 1 : PIECE_MAX);
}
