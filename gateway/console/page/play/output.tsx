/** The run of the desk's program: begun here, found again after a reload, and shown with what came of it. */
import { computed, effect, signal } from "@preact/signals";
import type { Ref } from "preact";
import { useEffect, useState } from "preact/hooks";

import { key } from "../lib/key";
import { keepRun, keptRun } from "../run/kept";
import { Output } from "../run/output";
import { Results } from "../run/results";
import { attach, start } from "../run/run";
import { Standing } from "../run/standing";
import { type Complaints, watch, type Watched } from "../run/watch";
import type { Size } from "../run/xterm";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import * as desk from "./desk";
import { hasFailed, issueOf } from "./issue";
import { checkOf, curl, requestOf, runOf } from "./program";

/** What is typed is in the log by this name; a terminal shows it itself. */
const NAME = "you";

interface Shown {
  run: Watched;
  /** What it was begun with. */
  body: Record<string, unknown>;
  beganAt: number;
}

/** The terminal's size; that of old where none has been shown yet. */
let size: Size = { cols: 80, rows: 24 };

const shown = signal<Shown | undefined>(undefined);

/** What is shown is found again after a reload, until it is over. One watch for all runs holds on to none that is past. */
effect(() => {
  if (!shown.value) return;
  const { run, body, beganAt } = shown.value;
  const begun = run.begun.value;
  if (run.outcome.value) keepRun(undefined);
  else if (begun) keepRun({ id: begun.id, ticket: begun.ticket, isTerminal: begun.tty, beganAt, body });
});

/** What the compiler of the run that is shown found, if anything, for as long as the program is the one that was run. */
export const complaints = computed<Complaints | undefined>(() => {
  const language = desk.language.value;
  if (!language || !shown.value) return undefined;
  const { run, body } = shown.value;
  const now = Object.entries(checkOf(language, desk.version.value, desk.draft.value));
  const isSame = now.every(([name, value]) => JSON.stringify(body[name]) === JSON.stringify(value));
  const { errors, warnings } = run.complaints.value;
  return isSame && errors.length + warnings.length > 0 ? { errors, warnings } : undefined;
});

export interface OutputHandle {
  run(): void;
  stop(): void;
}

interface ResultProps {
  handle: Ref<OutputHandle>;
  onRunning: (isRunning: boolean) => void;
  onLink: (path: string, line: number, column: number) => void;
}

export function Result({ handle, onRunning, onLink }: ResultProps) {
  const now = shown.value;
  const run = now?.run;
  const outcome = run?.outcome.value;
  useEffect(() => {
    findAgain();
    // The run goes on while another place is looked at.
    return () => {
      shown.value?.run.running.detach();
      shown.value = undefined;
    };
  }, []);
  useEffect(() => onRunning(run !== undefined && outcome === undefined), [run, outcome]);
  useEffect(() => {
    if (typeof handle === "object" && handle) handle.current = { run: begin, stop: () => run?.running.stop() };
  });
  return (
    <>
      <Bar run={run} body={now?.body} />
      <Output run={run} wantsTerminal={desk.hasTerminal.value} onSize={(it) => (size = it)} paths={desk.draft.value.files.map((it) => it.path)} onLink={onLink}>
        <p>
          {desk.hasTerminal.value ? "The program has a terminal here" : "Output appears here as the program writes it"}. Press <kbd>Ctrl</kbd>{" "}
          <kbd>Enter</kbd> to run.
        </p>
      </Output>
      {outcome?.kind === "report" ? <Results report={outcome.report} tookMs={outcome.tookMs} /> : null}
      {now && outcome && hasFailed(outcome) ? (
        <div class="issue">
          <Copy
            name="Copy for an issue"
            said="The program and what came of it are copied"
            text={() => issueOf(now.body, outcome, now.run.begun.value?.id, writtenBy(now.run))}
          />
        </div>
      ) : null}
    </>
  );
}

function begin(): void {
  const language = desk.language.value;
  if (!language) return;
  shown.value?.run.running.stop();
  const body = requestOf(language, desk.version.value, desk.draft.value, desk.limits.value);
  const tty = desk.hasTerminal.value ? size : undefined;
  announce("Running");
  const run = watch((tell) => start(runOf(body, desk.limits.value, tty), tell, tty ? {} : { name: NAME }));
  shown.value = { run, body, beganAt: Date.now() };
}

/** Takes part again in the run that went on when this page was left. */
function findAgain(): void {
  const kept = keptRun();
  if (!kept) return;
  const { id, ticket, isTerminal, beganAt, body } = kept;
  const run = watch((tell) => attach({ id, ticket, ...(isTerminal ? {} : { name: NAME }) }, tell), beganAt);
  shown.value = { run, body, beganAt };
}

function Bar({ run, body }: { run: Watched | undefined; body: Record<string, unknown> | undefined }) {
  const outcome = run?.outcome.value;
  return (
    <div class="bar">
      <h2 class="bar-title">
        <Standing run={run} />
      </h2>
      <div class="bar-end">
        <label class="switch">
          <input
            type="checkbox"
            role="switch"
            checked={desk.hasTerminal.value}
            onChange={(it) => {
              desk.wantTerminal(it.currentTarget.checked);
              // What is over makes room for how the next one is shown.
              if (outcome) shown.value = undefined;
            }}
          />
          Terminal
        </label>
        {body ? (
          <Copy name="Copy as curl" said="The request is copied as curl" text={() => curl(location.origin, body, key.value !== undefined)} />
        ) : null}
        {outcome ? (
          <button type="button" class="button quiet small" onClick={() => (shown.value = undefined)}>
            Clear
          </button>
        ) : null}
      </div>
    </div>
  );
}

/** A button that copies a text, and says for a while that it did. */
function Copy({ name, said, text }: { name: string; said: string; text: () => string }) {
  const [told, setTold] = useState("");
  useEffect(() => {
    if (!told) return;
    const timer = setTimeout(() => setTold(""), 2500);
    return () => clearTimeout(timer);
  }, [told]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setTold("Copied");
      announce(said);
    } catch {
      setTold("Not allowed here");
    }
  };
  return (
    <button type="button" class="button quiet small" onClick={copy}>
      <Icon name="copy" />
      {told || name}
    </button>
  );
}

/** What a program wrote so far. */
function writtenBy(run: Watched): string {
  let all = "";
  run.follow((written) => {
    for (const it of written) if (it.type !== "stdin") all += it.data;
  })();
  return all;
}
