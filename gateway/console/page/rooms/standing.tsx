/** How things stand with the connection, and what to do when there is none any more. */
import { useEffect, useRef } from "preact/hooks";

import { announce } from "../shell/announce";
import { Link } from "../shell/link";
import type { State } from "./connection";
import type { Room } from "./room";

const WORDS: Record<State, string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
  ended: "Left",
};
const TONES: Record<State, string> = { connecting: "none", live: "pass", reconnecting: "warn", offline: "warn", ended: "fail" };

export function Standing({ room }: { room: Room }) {
  const state = room.connection.state.value;
  const before = useRef(state);
  useEffect(() => {
    const was = before.current;
    before.current = state;
    if (state === "offline") announce(room.mayEdit.value ? "Offline. What you write is kept" : "Offline");
    else if (state === "live" && was !== "connecting" && was !== "live") announce("Live again");
  }, [state]);
  const isKept = state === "offline" && room.mayEdit.value;
  return (
    <div class={`standing standing-${TONES[state]}`} title={room.connection.hint.value}>
      <span class="dot" aria-hidden="true" />
      <span class="standing-words">
        <span>{WORDS[state]}</span>
        {isKept ? <span class="small muted">what you write is kept</span> : null}
      </span>
      {state === "offline" ? (
        <button type="button" class="button small" onClick={() => room.connection.enter()}>
          Try now
        </button>
      ) : null}
    </div>
  );
}

/** What is of weight enough to stand above everything else. */
export function Notices({ room }: { room: Room }) {
  return (
    <>
      <Ended room={room} />
      {room.connection.isStoreFull.value ? (
        <p class="notice-line warn" role="status">
          The gateway&rsquo;s store of rooms is full. Everything written stays in this page, so leave it open. Whoever runs the gateway has
          to make room; the page comes back by itself then.
        </p>
      ) : null}
      {room.isLost.value ? (
        <p class="notice-line warn" role="status">
          This browser has no room for what you write, so stay on the page until there is a connection.
        </p>
      ) : null}
    </>
  );
}

function Ended({ room }: { room: Room }) {
  const ending = room.connection.ending.value;
  if (!ending) return null;
  return (
    <div class="card notice room-ended" role="alert">
      <h2>{ending.title}</h2>
      <p>{ending.advice}</p>
      {ending.way === "again" ? (
        <button type="button" class="button primary" onClick={() => room.connection.enter()}>
          Enter again
        </button>
      ) : ending.way === "anew" ? (
        <button type="button" class="button primary" onClick={() => room.anew()}>
          Load the room again
        </button>
      ) : (
        <Link href="/rooms" class="button primary">
          Go to your rooms
        </Link>
      )}
    </div>
  );
}
