/**
 * What is typed into a run, on its way there. One message is under way at a time. Where nobody else types, it
 * says how much was typed before it: sent again after a lost connection, it still counts once. Where others
 * type as well, nobody knows whether it arrived, and whoever typed it is told.
 */
import type { Answer, RunEvent } from "./event";

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

const UNSURE = "The connection broke off while you typed. See whether it arrived before you type it again.";

export class Typing {
  #waiting = "";
  #hasEnded = false;
  #isEndSent = false;
  #underWay: UnderWay | undefined;
  #isAsked = false;
  #isFull = false;
  /** Bytes that the gateway took in all; not known before it says so. */
  #taken: number | undefined;
  readonly #isShared: boolean;
  readonly #say: Say;

  constructor(say: Say, isShared: boolean) {
    this.#say = say;
    this.#isShared = isShared;
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
      if (this.#taken === undefined && !this.#isShared) return this.#ask();
      const text = head(this.#waiting);
      this.#waiting = this.#waiting.slice(text.length);
      this.#underWay = { text, from: this.#taken ?? 0, bytes: new TextEncoder().encode(text).length };
      this.#send();
    } else if (this.#hasEnded && !this.#isEndSent) {
      this.#isEndSent = true;
      this.#say({ t: "eof" });
    }
  }

  /** A connection is there again: says once more what may not have arrived, or tells that nobody knows. */
  again(): RunEvent | undefined {
    const lost = this.#isShared ? this.#underWay : undefined;
    if (lost) this.#underWay = undefined;
    this.#isAsked = false;
    this.#isFull = false;
    // An input ends once, however often that is said.
    this.#isEndSent = false;
    if (this.#underWay) this.#send();
    else this.next();
    return lost && { type: "refused", code: "unsure", detail: UNSURE };
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
    this.#taken = answer.bytes;
    const sent = this.#underWay;
    if (sent && answer.type === "ready") return this.#send();
    if (sent && answer.type === "accepted" && (this.#isShared || answer.bytes >= sent.from + sent.bytes)) this.#underWay = undefined;
    this.next();
  }

  /** How much was typed so far is told in answer to nothing. */
  #ask(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#say({ t: "stdin", data: "", from: 0 });
  }

  #send(): void {
    const sent = this.#underWay;
    if (sent) this.#say({ t: "stdin", data: sent.text, ...(this.#isShared ? {} : { from: sent.from }) });
  }
}

/** The beginning of a text, without half a character at its end. */
function head(text: string): string {
  if (text.length <= PIECE_MAX) return text;
  const last = text.charCodeAt(PIECE_MAX - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? PIECE_MAX - 1 : PIECE_MAX);
}
