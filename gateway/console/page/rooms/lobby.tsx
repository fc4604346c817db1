/** The way to rooms: making one, coming back to one, and opening one that somebody told of. */
import { useRef, useState } from "preact/hooks";

import { post, Problem } from "../lib/api";
import { moment } from "../lib/format";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { go } from "../shell/router";
import type { RoomInfo } from "./access";
import { forgetRoom, type Known, knownRooms, placeOf, wanted } from "./known";
import { firstLanguage, languages, useLanguages } from "./languages";

/** What the gateway takes of a title, in bytes. */
const TITLE_BYTES_MAX = 200;

export default function RoomsPage() {
  useLanguages();
  return (
    <div class="lobby">
      <header class="lobby-head">
        <h1>Rooms</h1>
        <p class="muted">Several people write one program together, and run it together. Everybody sees every change and all output at once.</p>
      </header>
      <div class="lobby-ways">
        <Make />
        <Open />
      </div>
      <Been />
    </div>
  );
}

function Make() {
  const title = useRef<HTMLInputElement>(null);
  const [chosen, setChosen] = useState<string>();
  const language = chosen ?? firstLanguage()?.id;
  const [fault, setFault] = useState("");
  const [isBusy, setBusy] = useState(false);
  const make = async (event: Event) => {
    event.preventDefault();
    const called = title.current?.value.trim() ?? "";
    if (new TextEncoder().encode(called).length > TITLE_BYTES_MAX) {
      setFault("That name is too long.");
      return;
    }
    setBusy(true);
    setFault("");
    try {
      const { id } = await post<RoomInfo>("/v1/rooms", { title: called || "Untitled" });
      if (language) wanted.set(id, language);
      go(`/rooms/${id}`);
    } catch (error) {
      setBusy(false);
      setFault(error instanceof Problem ? error.lines.join(" ") : "The room could not be made.");
    }
  };
  return (
    <form class="card lobby-way" onSubmit={make}>
      <h2>Make a room</h2>
      <div class="field">
        <label for="title">Name</label>
        <input id="title" ref={title} maxLength={100} autocomplete="off" placeholder="Untitled" aria-describedby="make-fault" />
      </div>
      <div class="field">
        <label for="first-language">Begin with</label>
        <select id="first-language" disabled={!languages.value} value={language ?? ""} onChange={(it) => setChosen(it.currentTarget.value)}>
          {languages.value?.map((it) => (
            <option key={it.id} value={it.id}>
              {it.id}
              {it.available ? "" : " (not available)"}
            </option>
          ))}
        </select>
      </div>
      <button type="submit" class="button primary" disabled={isBusy}>
        <Icon name="plus" />
        Make the room
      </button>
      <p id="make-fault" class="fault small" role="alert">
        {fault}
      </p>
    </form>
  );
}

function Open() {
  const input = useRef<HTMLInputElement>(null);
  const [fault, setFault] = useState("");
  const open = (event: Event) => {
    event.preventDefault();
    const place = placeOf(input.current?.value ?? "", location.origin);
    if (place) go(place);
    else setFault(`Paste a link of ${location.host}, or the id of a room.`);
  };
  return (
    <form class="card lobby-way" onSubmit={open}>
      <h2>Open a room</h2>
      <div class="field">
        <label for="link">Link or id</label>
        <input id="link" ref={input} autocomplete="off" spellcheck={false} placeholder="room_…" aria-describedby="open-fault" aria-invalid={fault !== ""} />
      </div>
      <button type="submit" class="button">
        Open it
      </button>
      <p id="open-fault" class="fault small" role="alert">
        {fault}
      </p>
    </form>
  );
}

function Been() {
  const [rooms, setRooms] = useState<Known[]>(knownRooms);
  const forget = (room: Known) => {
    forgetRoom(room.id);
    setRooms(knownRooms());
    announce(`${room.title || room.id} is off the list`);
  };
  return (
    <section class="lobby-been" aria-label="Rooms you have been in">
      <h2>Rooms you have been in</h2>
      {rooms.length === 0 ? (
        <p class="muted">None yet in this browser. Rooms that you make or enter are listed here.</p>
      ) : (
        <ul class="card">
          {rooms.map((it) => (
            <li key={it.id}>
              <Link href={`/rooms/${it.id}`} class="been-link">
                <span class="clip">{it.title || "Untitled"}</span>
                <span class="muted small clip">{it.id}</span>
              </Link>
              <span class="muted small number been-at">{moment(it.at)}</span>
              <button type="button" class="icon-button" aria-label={`Take ${it.title || it.id} off the list`} title="Take it off the list" onClick={() => forget(it)}>
                <Icon name="close" />
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
