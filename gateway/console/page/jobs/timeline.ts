/** What became of a job, step by step: pure, from what the gateway tells of it. */
import { reasonOf, isFinal, type Shown } from "./report";

export type Tone = "none" | "run" | "pass" | "warn" | "fail";

export interface Part {
  name: "queue" | "compile" | "start" | "run";
  ms: number;
}

export interface Step {
  title: string;
  /** When it began, in milliseconds since 1970. */
  at?: number;
  /** How long it took, or has taken so far. */
  ms?: number;
  isOpen?: boolean;
  tone: Tone;
  /** What went wrong. */
  detail?: string;
  /** When it is to end. */
  until?: number;
  worker?: string;
  /** Where the time of an attempt went. */
  parts?: Part[];
}

/** How an attempt ended that has a result. */
const COMPLETED = "completed";

const time = (text: string): number => Date.parse(text);

/** The steps of a job, oldest first. What still goes on has taken its time until `now`. */
export function steps(job: Shown, now: number): Step[] {
  const created = time(job.createdAt);
  const found: Step[] = [];
  let from = created;
  for (const [index, attempt] of job.attempts.entries()) {
    const began = time(attempt.startedAt);
    found.push(wait(index === 0, from, began));
    const isLast = index === job.attempts.length - 1;
    const ended = attempt.endedAt ? time(attempt.endedAt) : undefined;
    const isOpen = ended === undefined && !isFinal(job);
    const end = ended ?? (isOpen ? now : time(job.finishedAt ?? attempt.startedAt));
    const result = isLast && isFinal(job) ? job.result : undefined;
    found.push({
      title: `Attempt ${attempt.number}`,
      at: began,
      ms: Math.max(0, end - began),
      isOpen,
      tone: isOpen ? "run" : attempt.reason === COMPLETED ? "pass" : "warn",
      worker: attempt.worker,
      ...(attempt.reason && attempt.reason !== COMPLETED ? { detail: reasonOf(attempt.reason) } : {}),
      ...(result ? { parts: partsOf(result.timings) } : {}),
    });
    from = end;
  }
  if (!isFinal(job) && job.state !== "leased") found.push(waiting(job, found.length === 0, from, now));
  else if (isFinal(job) && job.attempts.length === 0) found.push(wait(true, created, time(job.finishedAt ?? job.createdAt)));
  if (isFinal(job) && job.finishedAt) found.push(end(job, time(job.finishedAt), found.at(-1)?.detail));
  return found;
}

/** A time between attempts, or before the first. */
function wait(isFirst: boolean, from: number, to: number): Step {
  return { title: isFirst ? "Queued" : "Queued again", at: from, ms: Math.max(0, to - from), tone: "none" };
}

function waiting(job: Shown, isFirst: boolean, from: number, now: number): Step {
  const step = { ...wait(isFirst, from, now), isOpen: true };
  if (job.state !== "scheduled" || !job.runAt) return step;
  return { ...step, title: isFirst ? "Scheduled" : "Waits for another attempt", until: time(job.runAt) };
}

const ENDS: Record<string, [string, Tone]> = {
  succeeded: ["Succeeded", "pass"],
  cancelled: ["Cancelled", "warn"],
  expired: ["Expired", "warn"],
  dead: ["Dead", "fail"],
};

/** How it ended; why is told once. */
function end(job: Shown, at: number, told: string | undefined): Step {
  const [title, tone] = ENDS[job.state] ?? [job.state, "none"];
  const why = job.state === "dead" && job.reason ? reasonOf(job.reason) : undefined;
  return { title, at, tone, ...(why && why !== told ? { detail: why } : {}) };
}

/** Where an executor's time went, without what took none. */
export function partsOf(timings: Record<Part["name"], number>): Part[] {
  const names = ["queue", "compile", "start", "run"] as const;
  return names.map((name) => ({ name, ms: timings[name] })).filter((it) => it.ms >= 0.05);
}
