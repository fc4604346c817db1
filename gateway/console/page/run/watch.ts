/** A run as it is shown: what was told of it so far, for as many views as there are. */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { Problem } from "../lib/api";
import type { Begun, Complaint, OnEvent, Report, RunEvent, Running, Severity, Spent, Written } from "./run";

export type Outcome =
  | { kind: "report"; report: Report; tookMs: number }
  | { kind: "problem"; problem: Problem }
  | { kind: "stopped"; tookMs: number };

/** How far it is: what it says itself, or `sent` before it says anything. */
export type Stage = "sent" | "queued" | "compile" | "run" | "over";

/** What its compiler found. */
export interface Complaints {
  errors: Complaint[];
  warnings: Complaint[];
}

export interface Watched {
  readonly running: Running;
  readonly begun: ReadonlySignal<Begun | undefined>;
  readonly stage: ReadonlySignal<Stage>;
  /** Whether the log comes as it is written; otherwise the way to it is sought again. */
  readonly isConnected: ReadonlySignal<boolean>;
  /** Why it is sought again, where somebody said so. */
  readonly lostFor: ReadonlySignal<string | undefined>;
  readonly hasOutput: ReadonlySignal<boolean>;
  /** What its program has taken so far. */
  readonly spent: ReadonlySignal<Spent | undefined>;
  readonly complaints: ReadonlySignal<Complaints>;
  /** What was asked for last and is not done. */
  readonly refused: ReadonlySignal<string | undefined>;
  readonly outcome: ReadonlySignal<Outcome | undefined>;
  /** Tells all that was written so far, and then what comes. Returns what ends that. */
  follow(onWritten: (written: Written[]) => void): () => void;
}

/** Characters that are kept for views that come later; the gateway keeps less. */
const KEPT_MAX = 16 << 20;

/** Watches a run from its beginning: `watch((tell) => start(body, tell))`. */
export function watch(begin: (tell: OnEvent) => Running, beganAt = Date.now()): Watched {
  const begun = signal<Begun | undefined>(undefined);
  const stage = signal<Stage>("sent");
  const isConnected = signal(true);
  const lostFor = signal<string | undefined>(undefined);
  const hasOutput = signal(false);
  const complaints = signal<Complaints>({ errors: [], warnings: [] });
  const spent = signal<Spent | undefined>(undefined);
  const refused = signal<string | undefined>(undefined);
  const outcome = signal<Outcome | undefined>(undefined);
  const followers = new Set<(written: Written[]) => void>();
  const written: Written[] = [];
  let kept = 0;

  const write = (event: Written) => {
    hasOutput.value = true;
    if (kept < KEPT_MAX) written.push(event);
    kept += event.data.length;
    for (const follower of followers) follower([event]);
  };
  const complain = (severity: Severity, complaint: Complaint) => {
    const { errors, warnings } = complaints.value;
    complaints.value = severity === "error" ? { errors: [...errors, complaint], warnings } : { errors, warnings: [...warnings, complaint] };
  };
  const end = (last: Outcome) => {
    outcome.value = last;
    stage.value = "over";
  };
  const take = (event: RunEvent) => {
    const tookMs = Date.now() - beganAt;
    if (event.type === "stdout" || event.type === "stderr" || event.type === "stdin") write(event);
    else if (event.type === "begun") begun.value = event.run;
    else if (event.type === "queued") stage.value = "queued";
    else if (event.type === "stage") {
      stage.value = event.stage === "compile" ? "compile" : "run";
      spent.value = undefined;
    } else if (event.type === "spent") spent.value = event;
    else if (event.type === "diagnostic") complain(event.severity, event.complaint);
    else if (event.type === "connection") {
      isConnected.value = event.isOpen;
      lostFor.value = event.reason;
    } else if (event.type === "refused") refused.value = event.detail;
    else if (event.type === "exit") end({ kind: "report", report: event.report, tookMs });
    else if (event.type === "fault") end({ kind: "problem", problem: event.problem });
    else end({ kind: "stopped", tookMs });
  };
  return {
    running: begin(take),
    begun,
    stage,
    isConnected,
    lostFor,
    hasOutput,
    spent,
    complaints,
    refused,
    outcome,
    follow(onWritten) {
      onWritten(written);
      followers.add(onWritten);
      return () => followers.delete(onWritten);
    },
  };
}
