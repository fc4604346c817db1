/** What can be done with jobs and workers, and what is told of it. */
import { signal } from "@preact/signals";

import { Problem, post, send } from "../lib/api";
import { plural } from "../lib/format";
import { announce } from "../shell/announce";
import { confirm } from "../shell/dialog";
import type { Job, Worker } from "./report";

export interface Told {
  isFault: boolean;
  text: string;
  /** What to do about it. */
  advice?: string;
}

/** What came of the last act. */
export const told = signal<Told | undefined>(undefined);

/** Jobs that are redriven at a time. */
const AT_ONCE = 4;

/** Says what came of an act, where nothing else on the page does. */
export function tell(text: string): void {
  told.value = { isFault: false, text };
  announce(text);
}

/** Does something, and tells if it was refused. */
export async function attempt<T>(what: string, act: () => Promise<T>): Promise<T | undefined> {
  told.value = undefined;
  try {
    return await act();
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem(0, "broken", error instanceof Error ? error.message : "The answer broke off.");
    const text = `${what}: ${problem.lines.join("; ")}`;
    const advice = adviceOf(problem);
    told.value = { isFault: true, text, ...(advice ? { advice } : {}) };
    return undefined;
  }
}

/** What helps when that is refused. */
export function adviceOf(problem: Pick<Problem, "status" | "code" | "retryAfter">): string | undefined {
  if (problem.status === 403) return "Give a key with the role admin instead of this one (“Forget key”), or ask whoever runs the gateway.";
  if (problem.status === 404) return "Or it is somebody else’s: a key with the role admin sees everybody’s.";
  if (problem.code === "job_is_final") return "Nothing is left to cancel. To have it run once more, run it again.";
  if (problem.code === "job_is_not_dead") return "Only dead jobs are redriven. To have it run once more, run it again.";
  if (problem.status === 429) return `Try again in ${plural(Math.ceil(problem.retryAfter ?? 1), "second")}.`;
  if (problem.status === 0 || problem.status >= 500) return "Try again in a moment.";
  return undefined;
}

const path = (id: string) => `/v1/jobs/${encodeURIComponent(id)}`;

/** Asks, and then ends a job: the job as it is then, or nothing if that was refused or not wanted. */
export async function cancel(job: Job): Promise<Job | undefined> {
  const isRunning = job.state === "leased";
  const isWanted = await confirm({
    title: "Cancel this job?",
    text: isRunning ? "Its program is stopped where it is, and what it did so far is lost." : "It will not be run.",
    action: "Cancel the job",
  });
  if (!isWanted) return undefined;
  return attempt("It was not cancelled", async () => (await send(path(job.id), { method: "DELETE" })).json() as Promise<Job>);
}

/** Makes a dead job ready again. */
export function redrive(job: Job): Promise<Job | undefined> {
  return attempt("It was not redriven", () => post<Job>(`${path(job.id)}/redrive`, {}));
}

/** Asks, and then makes several dead jobs ready again. */
export async function redriveAll(jobs: Job[]): Promise<boolean> {
  const isWanted = await confirm({
    title: `Redrive ${plural(jobs.length, "dead job")}?`,
    text: "Each of them runs again, with as many attempts as it had at first. What made them die may still be there.",
    action: "Redrive them",
  });
  if (!isWanted) return false;
  const waiting = [...jobs];
  let done = 0;
  let refused: Told | undefined;
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const { id } = job;
      if (await attempt("Not redriven", () => post<Job>(`${path(id)}/redrive`, {}))) done += 1;
      else refused = told.value;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (!refused) tell(`${plural(done, "job is", "jobs are")} ready again`);
  else told.value = { ...refused, text: `${done} of ${plural(jobs.length, "job")} are ready again. ${refused.text}` };
  return done > 0;
}

/** Has a worker take no more jobs, or take jobs again. */
export async function order(worker: Worker, action: "drain" | "resume"): Promise<boolean> {
  if (action === "drain") {
    const isWanted = await confirm({
      title: `Drain ${worker.id}?`,
      text: "It finishes what it has and takes no more jobs, until it is resumed or starts again.",
      action: "Drain it",
    });
    if (!isWanted) return false;
  }
  const what = action === "drain" ? "It was not drained" : "It was not resumed";
  const done = await attempt(what, () => post<Worker>(`/v1/workers/${encodeURIComponent(worker.id)}/${action}`, {}));
  if (done) tell(action === "drain" ? `${worker.id} is told to take no more jobs` : `${worker.id} is told to take jobs again`);
  return done !== undefined;
}

/** Puts a text where it can be pasted. */
export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} copied`);
  } catch {
    told.value = { isFault: true, text: "This browser does not let the page copy.", advice: "Select the text, and copy it yourself." };
  }
}
