/**
 * The runs of a room. The gateway notes each in the document, so everybody hears of it; what it writes is in its
 * own log, which everybody reads from the beginning.
 */
import { effect, signal, untracked } from "@preact/signals";

import { Problem, send } from "../lib/api";
import { sentence } from "../lib/format";
import { persist } from "../lib/persist";
import { here } from "../lib/time";
import { LIMITS, requestOf, runOf } from "../play/program";
import { attach, start } from "../run/run";
import { watch, type Watched } from "../run/watch";
import { announce } from "../shell/announce";
import { headersFor } from "./access";
import { draftIn, type RunNote } from "./document";
import { languageOf } from "./languages";
import type { Room } from "./room";

/** What the room looks at: a run, or why it cannot be seen. */
export interface Shown {
  /** None while it is begun here and not known yet. */
  id: string | undefined;
  run: Watched | undefined;
  fault: string | undefined;
  /** Whether it was begun on this page. */
  isOwn: boolean;
}

const NOTHING: Shown = { id: undefined, run: undefined, fault: undefined, isOwn: false };
const GONE = "What this run wrote is not kept any more.";

export class Runs {
  readonly shown = signal<Shown>(NOTHING);
  /** What looks for a run, until another one is to be seen. */
  #looking = new AbortController();
  readonly #ends: (() => void)[] = [];
  /** The newest run that was heard of. */
  #newest: string | undefined;

  constructor(readonly room: Room) {
    this.#ends.push(
      effect(() => {
        const notes = room.runs.value;
        untracked(() => this.#hear(notes));
      }),
      effect(() => {
        const isRunning = this.isGoing && this.shown.value.isOwn;
        untracked(() => room.presence.runs(isRunning));
      }),
      // One watch for all runs that are begun here holds on to none that is past.
      effect(() => {
        const { id, run, isOwn } = this.shown.value;
        if (!run || !isOwn) return;
        const isOver = run.outcome.value !== undefined;
        const begun = run.begun.value;
        if (begun && !id) this.shown.value = { ...this.shown.value, id: begun.id };
        // Somebody else may have been faster, or this one was refused.
        if (begun || isOver) untracked(() => this.#hear(room.runs.peek()));
      }),
      // What could not be looked at for want of a connection is looked at again.
      effect(() => {
        const isLive = room.connection.state.value === "live";
        const { id, fault } = this.shown.peek();
        if (isLive && id && fault && fault !== GONE) untracked(() => void this.look(id));
      }),
    );
  }

  get isGoing(): boolean {
    const { run } = this.shown.value;
    return run !== undefined && run.outcome.value === undefined;
  }

  /** Runs what is written now, unless something runs. */
  begin(): void {
    const { room } = this;
    const meta = room.meta.value;
    const language = languageOf(meta.language);
    if (!language || !room.mayRun.value) return;
    if (this.isGoing) {
      announce("It runs already. Stop it first");
      return;
    }
    const name = room.presence.name.value;
    const path = `/v1/rooms/${room.id}/runs?${new URLSearchParams({ name })}`;
    const body = runOf(requestOf(language, meta.version, draftIn(room.doc), LIMITS), LIMITS);
    announce("Running");
    this.#looking.abort();
    const run = watch((tell) => start(body, tell, { path, headers: headersFor(room.id), name }));
    this.#show({ id: undefined, run, fault: undefined, isOwn: true });
  }

  stop(): void {
    if (this.room.mayRun.value) this.shown.value.run?.running.stop();
  }

  /** Looks at a run, from its beginning on. */
  async look(id: string): Promise<void> {
    this.#looking.abort();
    this.#looking = new AbortController();
    const gone = this.#looking.signal;
    this.#show({ ...NOTHING, id });
    const tell = (fault: string) => this.#show({ ...NOTHING, id, fault });
    try {
      const init = { headers: headersFor(this.room.id), signal: gone };
      const response = await persist(() => send(`/v1/rooms/${this.room.id}/runs/${id}`, init), gone, ({ message }) => tell(sentence(message)));
      const { ticket, viewTicket, createdAt } = (await response.json()) as { ticket?: string; viewTicket: string; createdAt: string };
      if (gone.aborted) return;
      const to = { id, ticket: ticket ?? viewTicket, name: this.room.presence.name.value };
      const run = watch((tell) => attach(to, tell), here(Date.parse(createdAt)));
      this.#show({ id, run, fault: undefined, isOwn: false });
    } catch (error) {
      if (gone.aborted) return;
      const problem = error instanceof Problem ? error : undefined;
      tell(problem?.status === 404 ? GONE : sentence(problem?.message ?? "The run could not be read."));
    }
  }

  close(): void {
    this.#looking.abort();
    for (const end of this.#ends) end();
    this.shown.peek().run?.running.detach();
  }

  /** Everybody looks at what was begun last. */
  #hear(notes: RunNote[]): void {
    const [newest] = notes;
    const shown = this.shown.peek();
    if (!newest || newest.id === this.#newest) return;
    // It may be ours, which is not told yet.
    if (shown.isOwn && !shown.id && shown.run && !shown.run.outcome.peek()) return;
    this.#newest = newest.id;
    if (newest.id === shown.id) return;
    // What was there before is no news.
    if (this.room.isThere.peek()) announce(`${newest.author || "Somebody"} runs the program`);
    void this.look(newest.id);
  }

  #show(next: Shown): void {
    const before = this.shown.peek().run;
    if (before !== next.run) before?.running.detach();
    this.shown.value = next;
  }
}
