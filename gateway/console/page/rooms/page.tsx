/** A room: several people write one program together, and run it together. */
import { useEffect, useRef, useState } from "preact/hooks";
import * as Y from "yjs";

import { key } from "../lib/key";
import type { Editor } from "../play/editor";
import { freshPath } from "../play/program";
import { Tabs } from "../play/tabs";
import { announce } from "../shell/announce";
import type { PlaceProps } from "../shell/router";
import { takeInvitation } from "./access";
import { addFile, removeFile, renameFile, type SharedFile } from "./document";
import { Invite } from "./invite";
import { wanted } from "./known";
import { firstLanguage, languageOf, languages, useLanguages } from "./languages";
import type { Person } from "./people";
import { Result } from "./result";
import { Room } from "./room";
import { Runs } from "./runs";
import { Source } from "./source";
import { Notices, Standing } from "./standing";
import { Toolbar } from "./toolbar";
import { Who } from "./who";

export default function RoomPage({ params }: PlaceProps) {
  const id = params.id ?? "";
  const [open, setOpen] = useState<{ room: Room; runs: Runs }>();
  useEffect(() => {
    let opened: { room: Room; runs: Runs } | undefined;
    const leave = () => {
      opened?.runs.close();
      opened?.room.close();
    };
    const enter = () => {
      takeInvitation(id);
      leave();
      const room = new Room(id);
      opened = { room, runs: new Runs(room) };
      setOpen(opened);
    };
    const invited = () => location.hash.startsWith("#invite=") && enter();
    enter();
    addEventListener("hashchange", invited);
    return () => {
      removeEventListener("hashchange", invited);
      leave();
    };
  }, [id, key.value]);
  if (!open) return <div class="loading" aria-hidden="true" />;
  return <Inside key={open.room.id} {...open} />;
}

function Inside({ room, runs }: { room: Room; runs: Runs }) {
  const editor = useRef<Editor | undefined>(undefined);
  const [chosen, setChosen] = useState<string>();
  const files = room.files.value;
  const title = room.info.value?.title || "Room";
  const found = files.findIndex((it) => it.id === chosen);
  const index = Math.max(0, found);
  const file = files[index];
  useLanguages(room.id);
  useFirstProgram(room);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.isComposing) return;
      if (event.key === "Enter") runs.begin();
      else if (event.key === ".") runs.stop();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [runs]);
  useEffect(() => {
    document.title = `${title} · Flotilla`;
  }, [title]);

  /** Who cannot be followed is not in a file that is there. */
  const placeOf = (person: Person): { file: SharedFile; at: number } | undefined => {
    try {
      const position = person.cursor && Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(person.cursor.head), room.doc);
      const file = files.find((it) => it.text === position?.type);
      return file && position ? { file, at: position.index } : undefined;
    } catch {
      return undefined;
    }
  };
  const goTo = (path: string, line: number, column: number) => {
    const file = files.find((it) => it.path === path);
    if (!file) return;
    setChosen(file.id);
    // The editor shows the file once the page has been drawn.
    setTimeout(() => editor.current?.goTo(line, column));
  };
  const follow = (person: Person) => {
    const place = placeOf(person);
    if (!place) return;
    const before = place.file.text.toString().slice(0, place.at).split("\n");
    goTo(place.file.path, before.length, (before.at(-1)?.length ?? 0) + 1);
  };
  const thenWrite = () => setTimeout(() => editor.current?.focus());

  // Nothing moves about while it is not known what there is, and as what one is here.
  if (!room.role.value && files.length === 0) {
    return (
      <div class="lobby">
        <h1 class="visually-hidden">{title}</h1>
        <Notices room={room} />
        <div class="loading" aria-hidden="true" />
      </div>
    );
  }
  return (
    <div class="play room">
      <header class="room-head">
        <h1 class="clip" title={title}>
          {title}
        </h1>
        <Standing room={room} />
        <div class="room-people">
          <Who room={room} whereIs={(it) => placeOf(it)?.file.path} onGoTo={follow} />
          {room.role.value === "owner" && room.connection.state.value !== "ended" ? <Invite room={room} /> : null}
        </div>
      </header>
      <Notices room={room} />
      <Toolbar room={room} runs={runs} />
      <div class="panes">
        <section class="pane" aria-label="Program">
          <Tabs
            files={files}
            active={index}
            program={room}
            isReadOnly={!room.mayEdit.value}
            fresh={() => freshPath(files, languageOf(room.meta.value.language)?.entry ?? "")}
            onShow={(it) => setChosen(files[it]?.id)}
            onAdd={(path) => {
              setChosen(addFile(room.doc, path));
              thenWrite();
            }}
            onRename={(path) => {
              if (file) renameFile(room.doc, file.id, path);
              thenWrite();
            }}
            onDelete={() => {
              if (!file) return;
              removeFile(room.doc, file.id);
              setChosen(files[Math.max(0, index - 1)]?.id);
              announce(`${file.path} is deleted for everybody`);
            }}
          />
          <Source room={room} file={file} editor={editor} />
        </section>
        <section class="pane" aria-label="Result">
          <Result room={room} runs={runs} onLink={goTo} />
        </section>
      </div>
    </div>
  );
}

/** A room without a program gets a first one once it is known what may be run. */
function useFirstProgram(room: Room): void {
  const isThere = room.isThere.value;
  const role = room.role.value;
  const all = languages.value;
  useEffect(() => {
    const first = languageOf(wanted.get(room.id)) ?? firstLanguage();
    if (first) room.begin(first);
  }, [room, isThere, role, all]);
}
