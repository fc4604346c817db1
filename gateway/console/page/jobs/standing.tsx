/** Where a job stands, in a sentence: what is to be known first. */
import { age, duration, plural } from "../lib/format";
import { ending, titleOf, toneOf } from "../run/standing";
import { StateBadge, when } from "./parts";
import { isFinal, reasonOf, type Shown } from "./report";

export function Standing({ job, now, toldAt }: { job: Shown; now: number; toldAt: number }) {
  return (
    <p class="standing-line">
      <StateBadge state={job.state} />
      {job.result && toneOf(job.result.status) !== "pass" ? <span class={`badge badge-${toneOf(job.result.status)}`}>{titleOf(job.result.status)}</span> : null}
      <span class="standing-text number">{standing(job, now, toldAt)}</span>
    </p>
  );
}

function standing(job: Shown, now: number, toldAt: number): string {
  if (job.cancelRequested && !isFinal(job)) return "Its worker is told to stop it.";
  if (job.state === "scheduled" && job.runAt) {
    const left = Math.max(0, (Date.parse(job.runAt) - now) / 1000);
    return `Its time comes in ${age(left)}, at ${when(Date.parse(job.runAt), now)}.`;
  }
  if (job.state === "ready") {
    const before = job.position ? `${plural(job.position, "job is", "jobs are")} before it` : "It is next";
    // What was expected and did not come is not repeated.
    const left = (job.expectedStartMs ?? 0) - (now - toldAt);
    return left < 1000 ? `${before}.` : `${before}; it is expected to start in about ${age(left / 1000)}.`;
  }
  if (job.state === "leased" && job.startedAt) return `Runs for ${age((now - Date.parse(job.startedAt)) / 1000)}.`;
  if (job.result) {
    const took = job.startedAt && job.finishedAt ? `in ${duration(Date.parse(job.finishedAt) - Date.parse(job.startedAt))}` : "";
    return [ending(job.result), took].filter(Boolean).join(", ");
  }
  if (job.state === "expired") return "It could not be started in time.";
  if (job.state === "dead" && job.reason) return `${reasonOf(job.reason)}.`;
  return "";
}
