/** What became of a job, as a line of steps. */
import { age, clock, duration, moment } from "../lib/format";
import { when } from "./parts";
import type { Shown } from "./report";
import { type Part, type Step, steps } from "./timeline";

export function Steps({ job, now }: { job: Shown; now: number }) {
  return (
    <ol class="steps">
      {steps(job, now).map((it, index) => (
        <Row key={index} step={it} />
      ))}
    </ol>
  );
}

function Row({ step }: { step: Step }) {
  const { title, at, ms, isOpen, tone, detail, until, worker, parts } = step;
  return (
    <li class={`step step-${tone} ${isOpen ? "step-open" : ""}`}>
      <span class="step-mark" aria-hidden="true" />
      <div class="step-main">
        <p class="step-line">
          <strong>{title}</strong>
          {until === undefined ? null : <span class="muted small number">until {when(until)}</span>}
          {worker ? <span class="muted small step-worker">{worker}</span> : null}
        </p>
        {detail ? <p class="small warn-text">{detail}</p> : null}
        {parts && parts.length > 0 ? <Parts parts={parts} /> : null}
      </div>
      <p class="step-times small number">
        <span class="muted" title={at === undefined ? undefined : moment(at)}>
          {at === undefined ? "" : clock(at)}
        </span>
        <span>{ms === undefined ? "" : isOpen ? age(ms / 1000) : duration(ms)}</span>
      </p>
    </li>
  );
}

const NAMES: Record<Part["name"], string> = { queue: "slot", compile: "compile", start: "start", run: "run" };

/** Where the time of an attempt went: as a bar, and in words. */
function Parts({ parts }: { parts: Part[] }) {
  return (
    <>
      <div class="timeline" aria-hidden="true">
        {parts.map((it) => (
          <span key={it.name} class={`part-${it.name}`} style={{ flexGrow: it.ms }} />
        ))}
      </div>
      <ul class="parts small muted number">
        {parts.map((it) => (
          <li key={it.name} class={`key part-key-${it.name}`}>
            {NAMES[it.name]} {duration(it.ms)}
          </li>
        ))}
      </ul>
    </>
  );
}
