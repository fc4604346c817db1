/** How an owner lets others in: links that last, each for a role, which can be withdrawn; and how a room ends. */
import { useEffect, useState } from "preact/hooks";

import { Problem } from "../lib/api";
import { age, moment } from "../lib/format";
import { now } from "../lib/time";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { type Invitation, invitationLink, invitations, invite, deleteRoom, withdraw } from "./access";
import type { Role } from "./people";
import { Popover } from "./popover";
import type { Room } from "./room";

const CHOICES: { role: Role; may: string }[] = [
  { role: "editor", may: "writes and runs" },
  { role: "runner", may: "runs, and types into programs" },
  { role: "viewer", may: "looks" },
];
const TIMES: [number, string][] = [
  [1, "an hour"],
  [24, "a day"],
  [24 * 7, "a week"],
  [24 * 30, "30 days"],
];

const said = (error: unknown): string => (error instanceof Problem ? error.lines.join(" ") : "That did not work.");

export function Invite({ room }: { room: Room }) {
  return (
    <Popover
      label="Invite others"
      class="button primary"
      button={
        <>
          <Icon name="link" />
          Invite
        </>
      }
    >
      {() => (
        <div class="invite">
          <Links room={room} />
          <Delete room={room} />
        </div>
      )}
    </Popover>
  );
}

function Links({ room }: { room: Room }) {
  const [role, setRole] = useState<Role>("editor");
  const [hours, setHours] = useState(24);
  const [made, setMade] = useState<{ id: string; role: Role; href: string; isCopied: boolean }>();
  const [all, setAll] = useState<Invitation[]>();
  const [fault, setFault] = useState("");
  const load = () => invitations(room.id).then((it) => setAll(it.invitations), (error: unknown) => setFault(said(error)));
  useEffect(() => void load(), []);
  const make = async (event: Event) => {
    event.preventDefault();
    setFault("");
    try {
      const { id, invitation } = await invite(room.id, role, hours);
      const href = invitationLink(room.id, invitation);
      setMade({ id, role, href, isCopied: await copied(href) });
      announce(`A link for ${role}s is made`);
      await load();
    } catch (error) {
      setFault(said(error));
    }
  };
  const end = async (id: string) => {
    setFault("");
    try {
      await withdraw(room.id, id);
      if (made?.id === id) setMade(undefined);
      announce("The link is withdrawn");
      await load();
    } catch (error) {
      setFault(said(error));
    }
  };
  return (
    <>
      <h2>Invite by link</h2>
      <form class="invite-form" onSubmit={make}>
        <fieldset>
          <legend>Whoever has the link</legend>
          {CHOICES.map((it) => (
            <label key={it.role} class="invite-choice">
              <input type="radio" name="role" value={it.role} checked={role === it.role} onChange={() => setRole(it.role)} />
              <span>
                {it.may} <span class="muted">({it.role})</span>
              </span>
            </label>
          ))}
        </fieldset>
        <div class="row invite-row">
          <label for="invite-hours">Good for</label>
          <select id="invite-hours" value={hours} onChange={(it) => setHours(Number(it.currentTarget.value))}>
            {TIMES.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
          <button type="submit" class="button primary">
            Make a link
          </button>
        </div>
      </form>
      {fault ? (
        <p class="fault small" role="alert">
          {fault}
        </p>
      ) : null}
      {made ? <Made key={made.id} {...made} /> : null}
      {all && all.length > 0 ? (
        <section aria-label="Links that are good">
          <h3>Links that are good</h3>
          <ul class="links">
            {all.map((it) => (
              <li key={it.id}>
                <span>
                  {it.role}
                  <span class="muted small number" title={`until ${moment(Date.parse(it.expiresAt))}`}>
                    {" "}
                    {age((Date.parse(it.expiresAt) - now()) / 1000)} left
                  </span>
                </span>
                <button type="button" class="button small" aria-label={`Withdraw the link for ${it.role}s`} onClick={() => void end(it.id)}>
                  Withdraw
                </button>
              </li>
            ))}
          </ul>
        </section>
      ) : null}
    </>
  );
}

/** A link, which is told this once. */
function Made({ role, href, isCopied }: { role: Role; href: string; isCopied: boolean }) {
  const [told, setTold] = useState(isCopied);
  return (
    <div class="made">
      <p class="small">
        {told ? "It is copied." : "Copy it now:"} The link for {role}s is shown only here and now. Whoever has it may enter.
      </p>
      <div class="row">
        <input readOnly value={href} aria-label="Link to share" onFocus={(it) => it.currentTarget.select()} />
        <button type="button" class="button" onClick={async () => setTold(await copied(href))}>
          <Icon name="copy" />
          Copy
        </button>
      </div>
    </div>
  );
}

async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function Delete({ room }: { room: Room }) {
  const [isAsked, setAsked] = useState(false);
  const [fault, setFault] = useState("");
  if (!isAsked) {
    return (
      <button type="button" class="button quiet small invite-end" onClick={() => setAsked(true)}>
        Delete this room…
      </button>
    );
  }
  const end = () => deleteRoom(room.id).catch((error: unknown) => setFault(said(error)));
  return (
    <div class="invite-sure" role="alert">
      <p class="small">It is deleted for everybody, with all that is written in it.</p>
      <div class="row">
        <button type="button" class="button small danger" onClick={() => void end()}>
          Delete it
        </button>
        <button type="button" class="button small" onClick={() => setAsked(false)}>
          Keep it
        </button>
      </div>
      {fault ? <p class="fault small">{fault}</p> : null}
    </div>
  );
}
