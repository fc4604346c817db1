/**
 * What is typed into a run, on its way there. One message is under way at a time; it says who types and how much
 * they have typed before it. Sent again after a lost connection it still counts once, whoever else types meanwhile.
 */
import { randomId } from "../lib/random";
import type { Answer, Spent } from "./event";

/** What is sent at a time, in characters: at most 64 KiB of UTF-8. */
const PIECE_MAX = 16 << 10;

/** What may wait here, in characters. */
const WAITING_MAX = 1 << 20;

/** Refusals of all that is typed: what the program cannot read any more is not kept for it. */
const CLOSED = ["stdin_closed", "read_only", "not_interactive", "over"];

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
    const piece = head(this.#waiting, this.#hasEnded);
    if (piece) {
      this.#waiting = this.#waiting.slice(piece.length);
      // Half a character is no text, and would be refused.
      const text = piece.replace(/\p{Surrogate}/gu, "\ufffd");
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

  hear(answer: Exclude<Answer, Spent>): void {
    if (answer.type === "refused") return this.#refuse(answer.code, answer.bytes);
    this.#isFull = answer.type === "full";
    const sent = this.#underWay;
    if (sent && answer.type === "ready") return this.#send();
    if (sent && answer.type === "accepted") {
      this.#taken = sent.from + sent.bytes;
      this.#underWay = undefined;
    }
    this.next();
  }

  #refuse(code: string, bytes: number | undefined): void {
    const sent = this.#underWay;
    if (code === "gap" && sent && bytes !== undefined && bytes < sent.from) {
      // What is missing is here no more. It goes on with what is.
      this.#underWay = { ...sent, from: bytes };
      return this.#send();
    }
    const isClosed = CLOSED.includes(code);
    if (!isClosed && code !== "gap" && code !== "bad_message") return;
    this.#underWay = undefined;
    if (isClosed) this.#waiting = "";
    else this.next();
  }

  #send(): void {
    const sent = this.#underWay;
    if (sent) this.#say({ t: "stdin", data: sent.text, typist: this.#typist, from: sent.from });
  }
}

/** The beginning of a text. Half a character at its end waits for the other half, unless nothing comes any more. */
function head(text: string, hasEnded: boolean): string {
  const piece = text.slice(0, PIECE_MAX);
  const isHalf = /[\ud800-\udbff]$/.test(piece);
  return isHalf && !(hasEnded && piece.length === text.length) ? piece.slice(0, -1) : piece;
}
