/** What the API tells of jobs, of the queue and of workers. */
import { words } from "../lib/format";
import type { OutputFile, Report } from "../run/event";

export const STATES = ["scheduled", "ready", "leased", "succeeded", "cancelled", "expired", "dead"] as const;
export type State = (typeof STATES)[number];

/** A job in a list. */
export interface Job {
  id: string;
  caller: string | null;
  language: string;
  queue: string;
  state: State;
  reason: string | null;
  priority: number;
  attempt: number;
  attemptsMax: number;
  cancelRequested: boolean;
  createdAt: string;
  runAt: string | null;
  startedAt: string | null;
  finishedAt: string | null;
  position: number | null;
  version: number;
}

export interface Attempt {
  number: number;
  worker: string;
  startedAt: string;
  endedAt: string | null;
  reason: string | null;
}

export interface CaseReport {
  name: string;
  status: string;
  output: string;
  error: string;
  executionTime: number;
}

/** The answer of an executor, as a job keeps it. */
export interface Result extends Report {
  output: string;
  error: string;
  cases?: CaseReport[];
  files?: OutputFile[];
}

/** A job by itself: `GET /v1/jobs/{id}`. */
export interface Shown extends Job {
  expectedStartMs: number | null;
  attempts: Attempt[];
  result?: Result;
}

/** `GET /v1/jobs`. */
export interface Listing {
  jobs: Job[];
  next: string | null;
  counts?: Record<State, number>;
}

export interface Lane {
  language: string;
  queue: string;
  scheduled: number;
  ready: number;
  leased: number;
  dead: number;
  oldestReadyMs: number | null;
  averageRunMs: number | null;
}

/** `GET /v1/queue`. */
export interface Queue {
  durability: string;
  health: "pass" | "warn" | "fail";
  reason: string | null;
  slots: number;
  executors: number;
  workers: number;
  bytes: number;
  languages: Lane[];
}

export interface Host {
  hostname: string;
  kernel: string;
  processors: number;
  cpu: number;
  memoryBytes: number;
  memoryFreeBytes: number;
  diskBytes: number;
  diskFreeBytes: number;
}

/** One of `GET /v1/workers`. */
export interface Worker {
  id: string;
  isLive: boolean;
  state: "active" | "draining";
  version: string;
  languages: string[];
  queues: string[];
  isolation: string;
  slots: number;
  jobs: string[];
  registeredAt: string;
  heardAt: string;
  host: Host | null;
}

/** One of `GET /v1/callbacks`. */
export interface Callback {
  number: number;
  jobId: string;
  url: string;
  attempt: number;
  dueAt: string | null;
  reason: string | null;
}

const FINAL: readonly State[] = ["succeeded", "cancelled", "expired", "dead"];

/** Whether a job stays as it is, unless it is dead and redriven. */
export const isFinal = (job: Pick<Job, "state">): boolean => FINAL.includes(job.state);

/** What the queue has in all of its lanes. */
export function totals(queue: Queue): Record<"scheduled" | "ready" | "leased" | "dead", number> & { oldestReadyMs: number | null } {
  const sum = (of: (lane: Lane) => number) => queue.languages.reduce((all, it) => all + of(it), 0);
  const oldest = Math.max(-1, ...queue.languages.map((it) => it.oldestReadyMs ?? -1));
  return {
    scheduled: sum((it) => it.scheduled),
    ready: sum((it) => it.ready),
    leased: sum((it) => it.leased),
    dead: sum((it) => it.dead),
    oldestReadyMs: oldest < 0 ? null : oldest,
  };
}

/** How long a job ran, or has run so far; nothing if it was not started. */
export function ranMs(job: Pick<Job, "startedAt" | "finishedAt">, now: number): number | undefined {
  if (!job.startedAt) return undefined;
  const end = job.finishedAt ? Date.parse(job.finishedAt) : now;
  return Math.max(0, end - Date.parse(job.startedAt));
}

/** Reasons as the API gives them, for people. */
const REASONS: Record<string, string> = {
  completed: "It has a result",
  lost: "The worker was lost",
  poison: "Two workers in a row were lost with it",
  drain: "The worker was asked to leave",
  executor_drained: "The executor was asked to leave",
  released: "The worker gave it back",
  "not accepted": "The worker never heard of it",
  abandoned: "The worker began anew, or left",
  invalid_request: "The executor refused the submission",
};

export function reasonOf(reason: string): string {
  const text = REASONS[reason] ?? words(reason);
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
