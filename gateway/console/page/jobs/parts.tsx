/** What the pages of jobs have in common: their head, states, and what is shown where there is nothing. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { get, Problem } from "../lib/api";
import { clock, moment } from "../lib/format";
import type { Polled } from "../lib/fresh";
import { forgetKey, key } from "../lib/key";
import type { Language } from "../play/program";
import { Confirmer } from "../shell/dialog";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { Live } from "../shell/live";
import { place } from "../shell/router";
import { adviceOf, copy, told } from "./acts";
import type { State } from "./report";

const PLACES = [
  { path: "/jobs", name: "Jobs" },
  { path: "/jobs/callbacks", name: "Callbacks" },
  { path: "/jobs/workers", name: "Workers" },
];

/** The head of a list: its name, how fresh it is, and the way to the others. */
export function Head<T>({ title, polled, what }: { title: string; polled: Polled<T>; what: string }) {
  const isKept = polled.problem.value?.code !== "no_store";
  return (
    <>
      <div class="jobs-head">
        <h1>{title}</h1>
        {isKept ? <Live polled={polled} what={what} /> : null}
      </div>
      <nav class="subnav" aria-label="Jobs">
        <ul>
          {PLACES.map((it) => (
            <li key={it.path}>
              <Link href={it.path} current={place.value.path === it.path}>
                {it.name}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <Notice />
    </>
  );
}

/** What came of the last act, and the questions that acts ask. */
export function Notice() {
  const now = told.value;
  return (
    <>
      <Confirmer />
      {now ? (
        <div class={`notice-line ${now.isFault ? "is-fault" : ""}`} role={now.isFault ? "alert" : undefined}>
          <span>
            {now.text}
            {/[.!?]$/.test(now.text) ? "" : "."} {now.advice}
          </span>
          <button type="button" class="icon-button" aria-label="Close this notice" onClick={() => (told.value = undefined)}>
            <Icon name="close" />
          </button>
        </div>
      ) : null}
    </>
  );
}

const TONES: Record<State, string> = {
  scheduled: "",
  ready: "badge-wait",
  leased: "badge-run",
  succeeded: "badge-pass",
  cancelled: "",
  expired: "badge-warn",
  dead: "badge-fail",
};

export const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

export function StateBadge({ state }: { state: State }) {
  return (
    <span class={`badge ${TONES[state]}`}>
      {state === "leased" ? <span class="badge-dot" aria-hidden="true" /> : null}
      {capital(state)}
    </span>
  );
}

/** A name whose end tells it from others: where there is no room, its beginning goes. */
export function Id({ id }: { id: string }) {
  const cut = Math.max(0, id.length - 12);
  return (
    <span class="id" title={id}>
      <span class="id-head">{id.slice(0, cut)}</span>
      <span>{id.slice(cut)}</span>
    </span>
  );
}

/** A time of today as such, and one of another day with it. */
export function when(time: number, now = Date.now()): string {
  return new Date(time).toDateString() === new Date(now).toDateString() ? clock(time) : moment(time);
}

/** A command to be copied. */
export function Command({ text, label }: { text: string; label: string }) {
  return (
    <div class="command">
      <pre tabIndex={0} aria-label={label}>
        {text}
      </pre>
      <button type="button" class="button small" onClick={() => void copy(text, "The command is")}>
        <Icon name="copy" />
        Copy
      </button>
    </div>
  );
}

/** A job that may be submitted, once it is known what can be run. */
export function useExample(): Record<string, unknown> {
  const [example, setExample] = useState<Record<string, unknown>>({ language: "…", code: "…" });
  useEffect(() => {
    const gone = new AbortController();
    get<{ languages: Pick<Language, "id" | "example" | "available">[] }>("/v1/languages", gone.signal).then(
      ({ languages }) => {
        const found = languages.find((it) => it.available) ?? languages[0];
        if (found) setExample({ language: found.id, code: found.example.trim() });
      },
      () => undefined,
    );
    return () => gone.abort();
  }, []);
  return example;
}

/** What is shown in place of what cannot be shown. */
export function Waiting<T>({ polled, what }: { polled: Polled<T>; what: string }) {
  const problem = polled.problem.value;
  if (!problem || problem.status === 401) return <div class="loading" aria-hidden="true" />;
  if (problem.code === "no_store") return <NoStore />;
  return <Refused problem={problem} what={what} again={polled.again} />;
}

export function Refused({ problem, what, again }: { problem: Problem; what: string; again: () => void }) {
  const isForbidden = problem.status === 403;
  return (
    <div class="card notice" role="alert">
      <h2>{what} cannot be shown</h2>
      {problem.lines.map((it) => (
        <p key={it}>{capital(it)}.</p>
      ))}
      {isForbidden ? null : <p class="muted">{adviceOf(problem)}</p>}
      {isForbidden && key.value ? (
        <p>
          Whoever runs the gateway gives a key its roles in <code>GATEWAY_KEYS</code>, such as <code>ops:KEY role=admin</code>.
        </p>
      ) : null}
      {problem.requestId ? <p class="muted small">Request {problem.requestId}</p> : null}
      {isForbidden && key.value ? (
        <button type="button" class="button" onClick={forgetKey}>
          Use another key
        </button>
      ) : (
        <button type="button" class="button" onClick={again}>
          Ask again
        </button>
      )}
    </div>
  );
}

function NoStore() {
  return (
    <div class="card notice">
      <h2>This gateway keeps no jobs</h2>
      <p>
        A job is kept on disk before it is acknowledged, and run when there is room. Say where, and start the gateway again; a file is
        enough:
      </p>
      <Command label="Setting" text="GATEWAY_STORE_URL=sqlite:/var/lib/flotilla/jobs.db" />
      <p class="muted">
        Several gateways share a store in PostgreSQL (<code>postgres://…</code>) or Redis (<code>redis://…</code>). <code>scripts/up</code>{" "}
        sets one by itself.
      </p>
    </div>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt class="muted">{name}</dt>
      <dd class="number">{children}</dd>
    </div>
  );
}
