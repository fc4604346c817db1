/** What this page says of its reader to the others in a room, and what they say of themselves. */
import { signal } from "@preact/signals";
import { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";

import { store, stored } from "../lib/storage";
import { cleanName, colourOf, COLOURS, nameToBegin, peopleOf, type Person, personOf, type Role } from "./people";

/** Who writes nothing for so long does not type any more. */
const TYPING_MS = 1500;

export class Presence {
  readonly awareness: Awareness;
  readonly people = signal<Person[]>([]);
  readonly name = signal(nameNow());
  /** What the page says of itself, all of it at once. */
  #said: Record<string, unknown>;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(doc: Y.Doc) {
    this.awareness = new Awareness(doc);
    const colour = Number(stored("colour") ?? Number.NaN);
    const first = Number.isInteger(colour) && colour >= 0 && colour < COLOURS ? colour : doc.clientID % COLOURS;
    this.#said = { user: { name: this.name.value, colour: first }, since: Date.now() };
    this.#say({});
    this.awareness.on("change", () => this.#look());
    this.#look();
  }

  call(name: string): void {
    this.name.value = cleanName(name) || this.name.value;
    store("name", this.name.value);
    this.#say({ user: { name: this.name.value, colour: this.#self().colour } });
  }

  is(role: Role): void {
    this.#say({ role });
  }

  runs(isRunning: boolean): void {
    if ((this.#said.isRunning === true) !== isRunning) this.#say({ isRunning: isRunning || undefined });
  }

  types(): void {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#say({ isTyping: undefined }), TYPING_MS);
    if (!this.#said.isTyping) this.#say({ isTyping: true });
  }

  points(cursor: { anchor: unknown; head: unknown }): void {
    this.#say({ cursor });
  }

  close(): void {
    clearTimeout(this.#typing);
    this.awareness.destroy();
  }

  #say(changes: Record<string, unknown>): void {
    this.#said = { ...this.#said, ...changes };
    this.awareness.setLocalState(this.#said);
  }

  #self(): Person {
    return personOf(this.awareness.clientID, this.#said, this.awareness.clientID);
  }

  #look(): void {
    this.people.value = peopleOf(this.awareness.getStates(), this.awareness.clientID);
    const self = this.#self();
    const colour = colourOf(self, this.people.value.filter((it) => !it.isSelf));
    if (colour === self.colour) return;
    store("colour", String(colour));
    this.#say({ user: { name: this.name.value, colour } });
  }
}

function nameNow(): string {
  const kept = cleanName(stored("name") ?? "");
  if (kept) return kept;
  const name = nameToBegin(Math.random());
  store("name", name);
  return name;
}
