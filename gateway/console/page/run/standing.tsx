/** How a run stands, in a few words: for the eye, and for screen readers at its end. */
import { age, bytes, duration, words } from "../lib/format";
import type { Report } from "./run";
import type { Outcome, Stage, Watched } from "./watch";

const TONES: Record<string, "pass" | "warn" | "fail"> = { success: "pass", accepted: "pass", cancelled: "warn" };
const TITLES: Record<string, string> = {
  success: "Success",
  runtime_error: "Runtime error",
  compile_error: "Does not compile",
  timeout: "Out of time",
  memory_limit: "Out of memory",
  output_limit: "Too much output",
  cancelled: "Stopped",
};
const STAGES: Record<Stage, string> = { sent: "Sent", queued: "Queued", compile: "Compiling", run: "Running", over: "Over" };

export const titleOf = (status: string): string => TITLES[status] ?? words(status);
export const toneOf = (status: string): "pass" | "warn" | "fail" => TONES[status] ?? "fail";

/** How a program ended, beside its status. */
export function ending(report: Pick<Report, "signal" | "exitCode">): string {
  if (report.signal) return report.signal;
  return report.exitCode === null ? "" : `exit code ${report.exitCode}`;
}

/** What to announce at the end of a run. */
export function said(outcome: Outcome): string {
  if (outcome.kind === "stopped") return "The run was stopped";
  if (outcome.kind === "problem") return `Not run: ${outcome.problem.message}`;
  const { report } = outcome;
  if (report.status === "cancelled") return "The run was stopped";
  const took = report.status === "compile_error" ? "" : duration(report.executionTime * 1000);
  return [`Run finished: ${titleOf(report.status)}`, ending(report), took].filter(Boolean).join(", ");
}

export function Standing({ run }: { run: Watched | undefined }) {
  if (!run) return <>Output</>;
  const outcome = run.outcome.value;
  if (!outcome) {
    return (
      <>
        <span class="spinner" aria-hidden="true" /> {STAGES[run.stage.value]}
        <SoFar run={run} />
        {run.isConnected.value ? null : <span class="badge badge-warn">Reconnecting</span>}
      </>
    );
  }
  if (outcome.kind === "stopped") {
    return (
      <>
        <span class="badge badge-warn">Stopped</span> <span class="muted small number">after {duration(outcome.tookMs)}</span>
      </>
    );
  }
  if (outcome.kind === "problem") return <span class="badge badge-fail">{run.begun.value ? "Lost" : "Not run"}</span>;
  const { report } = outcome;
  return (
    <>
      <span class={`badge badge-${toneOf(report.status)}`}>{titleOf(report.status)}</span>{" "}
      <span class="muted small number">{report.status === "cancelled" ? `after ${duration(report.executionTime * 1000)}` : ending(report)}</span>
    </>
  );
}

/** What it has taken so far. It changes twice a second, so nobody is told of it aloud. */
function SoFar({ run }: { run: Watched }) {
  const spent = run.spent.value;
  if (!spent || run.stage.value !== "run") return null;
  return (
    <span class="muted small number spent" title="Since the program began, and its most memory so far">
      {age(spent.seconds)} · {bytes(spent.bytes)}
    </span>
  );
}
