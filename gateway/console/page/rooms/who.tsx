/** Who is in the room, and what one is called there oneself. */
import { useRef, useState } from "preact/hooks";

import { Icon } from "../shell/icon";
import { doing, initialsOf, listed, NAME_MAX, type Person } from "./people";
import { Popover } from "./popover";
import type { Room } from "./room";

/** So many are shown; the others are counted. */
const SHOWN_MAX = 5;

interface WhoProps {
  room: Room;
  /** In which file somebody is, if it can be said. */
  whereIs: (person: Person) => string | undefined;
  onGoTo: (person: Person) => void;
}

export function Who({ room, whereIs, onGoTo }: WhoProps) {
  const isAway = room.connection.state.value !== "live";
  const people = room.presence.people.value;
  const shown = people.slice(0, people.length > SHOWN_MAX ? SHOWN_MAX - 1 : SHOWN_MAX);
  const names = people.map((it) => (it.isSelf ? `${it.name} (you)` : it.name));
  return (
    <Popover
      label="Who is here"
      class="avatars"
      button={
        <>
          <span class="visually-hidden">Who is here: {listed(names)}</span>
          {shown.map((it) => (
            <Avatar key={it.client} person={it} />
          ))}
          {people.length > shown.length ? <span class="avatar avatar-more number" aria-hidden="true">+{people.length - shown.length}</span> : null}
        </>
      }
    >
      {(close) => (
        <>
          <h2>{people.length === 1 ? "Only you are here" : `${people.length} people are here`}</h2>
          <ul class="who">
            {people.map((it) => (
              <li key={it.client}>
                <Avatar person={it} />
                {it.isSelf ? (
                  <OwnName room={room} person={it} />
                ) : (
                  <>
                    <span class="who-name">
                      <span class="clip">{it.name}</span>
                      <span class="muted small clip">{[doing(it), whereIs(it)].filter(Boolean).join(" · ")}</span>
                    </span>
                    {whereIs(it) ? (
                      <button
                        type="button"
                        class="button small"
                        aria-label={`Go to ${it.name}`}
                        onClick={() => {
                          close();
                          onGoTo(it);
                        }}
                      >
                        Go to
                      </button>
                    ) : null}
                  </>
                )}
              </li>
            ))}
          </ul>
          {isAway ? <p class="muted small">The others are seen again once there is a connection.</p> : null}
        </>
      )}
    </Popover>
  );
}

export function Avatar({ person }: { person: Pick<Person, "name" | "colour"> & Partial<Person> }) {
  return (
    <span class={`avatar person-${person.colour}`} data-busy={person.isTyping || person.isRunning || undefined} title={person.name} aria-hidden="true">
      {initialsOf(person.name)}
    </span>
  );
}

function OwnName({ room, person }: { room: Room; person: Person }) {
  const [isNaming, setNaming] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const edit = useRef<HTMLButtonElement>(null);
  const end = () => {
    setNaming(false);
    setTimeout(() => edit.current?.focus());
  };
  if (!isNaming) {
    return (
      <>
        <span class="who-name">
          <span class="clip">
            {person.name} <span class="muted">(you)</span>
          </span>
          <span class="muted small">{doing(person)}</span>
        </span>
        <button
          type="button"
          class="icon-button"
          ref={edit}
          aria-label="Change your name"
          title="Change your name"
          onClick={() => {
            setNaming(true);
            setTimeout(() => input.current?.select());
          }}
        >
          <Icon name="pencil" />
        </button>
      </>
    );
  }
  const submit = (event: Event) => {
    event.preventDefault();
    room.presence.call(input.current?.value ?? "");
    end();
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    end();
  };
  return (
    <form class="who-form" onSubmit={submit} onKeyDown={pressed}>
      <input ref={input} defaultValue={person.name} maxLength={NAME_MAX} aria-label="Your name" autocomplete="nickname" spellcheck={false} />
      <button type="submit" class="button small primary">
        Keep
      </button>
    </form>
  );
}
