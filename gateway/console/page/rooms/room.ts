/** A room that is open on this page: its document as the page shows it, who is there, and the way in. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import * as Y from "yjs";

import type { Language } from "../play/program";
import { announce } from "../shell/announce";
import { dropInvitation, isWithdrawn, roomInfo, type RoomInfo, ticketFor } from "./access";
import { Connection } from "./connection";
import { begin, filesOf, type Meta, metaOf, type RunNote, runsOf, type SharedFile } from "./document";
import { noteRoom } from "./known";
import { changesOf, listed, mayEdit, mayRun, type Person, type Role } from "./people";
import { Presence } from "./presence";
import * as unsent from "./unsent";

/** What is written without a connection is kept so soon. */
const KEEP_AFTER_MS = 300;
/** Who comes and goes within so long is told of once. */
const TELL_AFTER_MS = 1000;

export class Room {
  readonly doc = new Y.Doc();
  readonly presence: Presence;
  readonly connection: Connection;
  readonly info = signal<RoomInfo | undefined>(undefined);
  readonly role = signal<Role | undefined>(undefined);
  readonly files = signal<SharedFile[]>([]);
  readonly meta = signal<Meta>(metaOf(this.doc));
  readonly runs = signal<RunNote[]>([]);
  /** Whether the gateway's document has been here. */
  readonly isThere = signal(false);
  /** Whether the browser has no space for what was not sent. */
  readonly isLost = signal(false);
  readonly mayEdit: ReadonlySignal<boolean>;
  readonly mayRun: ReadonlySignal<boolean>;
  /** What the gateway had when the last connection began, as it said itself. What we sent since may be lost with it. */
  #known: Uint8Array | undefined;
  /** The names of what was not sent, here and by pages before. */
  readonly #kept: string[];
  #told: Person[] | undefined;
  #keeping: ReturnType<typeof setTimeout> | undefined;
  #telling: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly id: string) {
    this.presence = new Presence(this.doc);
    this.#kept = [unsent.nameFor(id, this.doc), ...unsent.restore(id, this.doc)];
    this.#read();
    this.doc.on("update", (_, origin) => {
      this.#read();
      // What the gateway sends comes from the connection's own provider.
      if (this.connection.state.value !== "live" && typeof origin !== "string") this.#keepSoon();
    });
    const entrance = { ticket: (gone: AbortSignal) => this.#ticket(gone), probe: () => roomInfo(id) };
    this.connection = new Connection(id, this.doc, this.presence.awareness, entrance, {
      onSync: () => this.#synced(),
      onTold: (vector) => (this.#known = vector),
      onSettled: () => this.#settled(),
    });
    // Who has lost the right to write still sees what there was.
    const isOpen = computed(() => this.connection.state.value !== "ended");
    this.mayEdit = computed(() => isOpen.value && mayEdit(this.role.value) && this.files.value.length > 0);
    this.mayRun = computed(() => isOpen.value && mayRun(this.role.value) && this.files.value.length > 0);
    this.presence.awareness.on("change", () => this.#tellSoon());
    this.connection.state.subscribe((it) => {
      // What was on its way may not have arrived.
      const isLeft = it === "ended" && (this.connection.ending.peek()?.way ?? "again") === "again";
      if ((isLeft || it === "reconnecting" || it === "offline") && mayEdit(this.role.peek())) this.#keepSoon();
      // Nothing tells of those who went meanwhile, if nobody else is there.
      if (it === "live" && this.#told) this.#tellSoon();
    });
    addEventListener("pagehide", this.#keep);
  }

  /** Puts a first program in, if the room has none and it is known to have none. */
  begin(language: Language): void {
    if (this.isThere.value && mayEdit(this.role.value)) begin(this.doc, language);
  }

  /** Loads the page without what could not be sent. */
  anew(): void {
    clearTimeout(this.#keeping);
    this.#keeping = undefined;
    unsent.forgetAll(this.id);
    location.reload();
  }

  close(): void {
    this.#keep();
    removeEventListener("pagehide", this.#keep);
    clearTimeout(this.#telling);
    this.connection.close();
    this.presence.close();
    this.doc.destroy();
  }

  async #ticket(gone: AbortSignal): Promise<string> {
    try {
      const info = this.info.value ?? (await roomInfo(this.id, gone));
      this.info.value = info;
      const { ticket, role } = await ticketFor(this.id, info.role, this.presence.name.value, gone);
      this.role.value = role;
      this.presence.is(role);
      return ticket;
    } catch (error) {
      // Whoever has a key besides is not kept out by an invitation that has ended.
      if (isWithdrawn(error)) dropInvitation(this.id);
      throw error;
    }
  }

  #read(): void {
    const files = filesOf(this.doc);
    const isSame = (it: SharedFile, at: number) => it.text === this.files.value[at]?.text && it.path === this.files.value[at]?.path;
    if (files.length !== this.files.value.length || !files.every(isSame)) this.files.value = files;
    settle(this.meta, metaOf(this.doc));
    settle(this.runs, runsOf(this.doc));
  }

  #synced(): void {
    this.isThere.value = true;
    noteRoom({ id: this.id, title: this.info.value?.title ?? "", at: Date.now() });
  }

  #settled(): void {
    clearTimeout(this.#keeping);
    this.#keeping = undefined;
    unsent.forget(this.#kept);
    this.isLost.value = false;
  }

  #keepSoon(): void {
    this.#keeping ??= setTimeout(this.#keep, KEEP_AFTER_MS);
  }

  readonly #keep = (): void => {
    if (this.#keeping === undefined) return;
    clearTimeout(this.#keeping);
    this.#keeping = undefined;
    this.isLost.value = !unsent.keep(this.id, this.doc, this.#known);
  };

  /** Says who came and went; not while it is we who are away. */
  #tellSoon(): void {
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      if (this.connection.state.value !== "live") return;
      const now = this.presence.people.value;
      const others = now.filter((it) => !it.isSelf).map((it) => it.name);
      const told = this.#told ? changesOf(this.#told, now) : others.length > 0 && `${listed(others)} ${others.length > 1 ? "are" : "is"} here`;
      if (told) announce(told);
      this.#told = now;
    }, TELL_AFTER_MS);
  }
}

/** Changes a signal only if there is something new, so that nothing is drawn for what was typed. */
function settle<T>(place: Signal<T>, next: T): void {
  if (JSON.stringify(place.value) !== JSON.stringify(next)) place.value = next;
}
