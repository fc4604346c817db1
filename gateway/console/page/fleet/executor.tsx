/** One executor: at a glance, and behind a click everything that is known of it. */
import { useState } from "preact/hooks";

import { age, count, duration, moment, percent, plural, sentence, words } from "../lib/format";
import { Icon } from "../shell/icon";
import { Latency } from "./latency";
import type { Executor, Fleet, Guarantee, Isolation } from "./report";
import { Strip } from "./strip";

const HEALTH = { pass: "Up", warn: "Wants a look", fail: "Down" } as const;

interface CardProps {
  executor: Executor;
  fleet: Fleet;
  now: number;
  long: string;
}

export function ExecutorCard({ executor, fleet, now, long }: CardProps) {
  const [isOpen, setOpen] = useState(false);
  const { history, info, label } = executor;
  const { pass, warn, fail } = history.beats;
  const id = `executor-${label}`;
  const versions = info?.runtimes.map((it) => it.version) ?? [];
  return (
    <li class={`card executor executor-${executor.status}`}>
      <div class="executor-row">
        <div class="executor-name">
          <h2 id={id}>
            <span class={`dot dot-${executor.status}`} aria-hidden="true" />
            <span class="clip" title={label}>
              {label}
            </span>
          </h2>
          <p class="muted small">
            <span class={executor.status === "fail" ? "fault" : ""}>{HEALTH[executor.status]}</span>{" "}
            <span class="number">for {age((now - Date.parse(executor.since)) / 1000)}</span>
          </p>
          <p class="muted small row-clip" title={info?.languages.join(", ")}>
            <span class="clip">{info ? info.languages.join(", ") : "has not said what it runs"}</span>
            {versions.length > 0 ? (
              <span class="number">
                {versions[0]}
                {versions.length > 1 ? ` +${versions.length - 1}` : ""}
              </span>
            ) : null}
          </p>
        </div>
        <div class="executor-strip">
          <Strip frame={fleet} points={history.points ?? []} name={`${label} in ${long}`} />
          <p class="muted small number strip-legend">
            <span>{fleet.window}</span>
            <span>{pass + warn + fail === 0 ? "not seen" : `up ${percent(pass + warn, pass + warn + fail)}`}</span>
            <span>now</span>
          </p>
        </div>
        <dl class="executor-numbers number">
          <Number name="p50" value={duration(history.latencyMs?.p50)} />
          <Number name="p95" value={duration(history.latencyMs?.p95)} />
          <Number name="p99" value={duration(history.latencyMs?.p99)} />
        </dl>
        <Split history={history} />
        <div class="executor-end">
          <IsolationBadge isolation={info?.isolation} />
          <Slots executor={executor} />
        </div>
        <button
          type="button"
          class="icon-button disclose"
          aria-expanded={isOpen}
          aria-controls={`${id}-more`}
          aria-label={`${isOpen ? "Hide" : "Show"} everything about ${label}`}
          onClick={() => setOpen(!isOpen)}
        >
          <Icon name="chevron" />
        </button>
      </div>
      {executor.output && executor.status !== "pass" ? (
        <p class={`executor-output ${executor.status}`}>{sentence(executor.output)}</p>
      ) : null}
      <div id={`${id}-more`} hidden={!isOpen}>
        {isOpen ? <More executor={executor} fleet={fleet} /> : null}
      </div>
    </li>
  );
}

function Number({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt class="muted">{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** What of the time was waiting, and what the program itself took. */
function Split({ history }: { history: Executor["history"] }) {
  const { queueMs, runMs } = history;
  if (!queueMs || !runMs) return <div class="split muted small">no runs</div>;
  // What took no time that can be told from none is none.
  const queue = queueMs.p95 <= 0.3 ? 0 : queueMs.p95;
  const whole = queue + runMs.p95;
  return (
    <div class="split" title={`95 of 100 waited ${duration(queue)} or less for a slot, and ran ${duration(runMs.p95)} or less`}>
      <div class="split-bar" aria-hidden="true">
        <span class="split-queue" style={{ width: `${whole > 0 ? (queue / whole) * 100 : 0}%` }} />
        <span class="split-run" />
      </div>
      <p class="small muted number">
        <span class="key key-queue">waits {duration(queue)}</span> <span class="key key-run">runs {duration(runMs.p95)}</span>
      </p>
    </div>
  );
}

function Slots({ executor }: { executor: Executor }) {
  const used = executor.slots - executor.slotsFree;
  const boxes = Math.min(executor.slots, 16);
  return (
    <p class="slots small muted number">
      <span class="slot-boxes" aria-hidden="true">
        {Array.from({ length: boxes }, (_, index) => (
          <span key={index} class={`slot ${index < Math.ceil((used / executor.slots) * boxes) ? "slot-used" : ""}`} />
        ))}
      </span>
      {executor.slots === 0 ? "no slots" : `${executor.slotsFree} of ${executor.slots} free`}
      {executor.waiting > 0 ? `, ${count(executor.waiting)} wait` : ""}
    </p>
  );
}

/** Below L3 runs could reach each other, so that is what the colour tells. */
const toneOf = (rung: number) => (rung >= 3 ? "pass" : rung >= 2 ? "warn" : "fail");

function IsolationBadge({ isolation }: { isolation: Isolation | undefined }) {
  if (!isolation) return <span class="badge">not known</span>;
  return (
    <span class={`badge badge-${toneOf(isolation.rung)}`} title={`Isolation level ${isolation.rung} of 5: ${isolation.level}`}>
      <Icon name="shield" />L{isolation.rung} {isolation.level}
    </span>
  );
}

const STRENGTHS = { enforced: "pass", watched: "warn", none: "fail" } as const;

function More({ executor, fleet }: { executor: Executor; fleet: Fleet }) {
  const { history, info } = executor;
  return (
    <div class="more">
      <div class="more-wide">
        <Latency frame={fleet} points={history.points ?? []} name={executor.label} />
      </div>
      <div>
        <h3>Runs by how they ended</h3>
        <Statuses history={history} />
        <h3>State</h3>
        <dl class="facts">
          <Fact name="Since">{moment(Date.parse(executor.since))}</Fact>
          <Fact name="Circuit">{words(executor.circuit)}</Fact>
          <Fact name="Last probe">{duration(executor.probeMs)}</Fact>
          <Fact name="Runs of ours">{count(executor.inFlight)}</Fact>
          {executor.slotsQuarantined > 0 ? (
            <Fact name="Slots out of service">{count(executor.slotsQuarantined)}</Fact>
          ) : null}
          {info ? (
            <>
              <Fact name="Versions">{info.runtimes.map((it) => it.version).join(", ")}</Fact>
              <Fact name="Samples">
                {info.samplesFailed > 0 ? `${info.samplesFailed} failed, ` : ""}
                {info.samplesPassed} passed
              </Fact>
              <Fact name="Starts">{warmth(info.warm)}</Fact>
            </>
          ) : null}
        </dl>
        {info && info.notes.length > 0 ? (
          <>
            <h3>Notes</h3>
            <ul class="notes">
              {info.notes.map((it) => (
                <li key={it}>{sentence(it)}</li>
              ))}
            </ul>
          </>
        ) : null}
      </div>
      <div>{info ? <IsolationMore isolation={info.isolation} /> : <p class="muted">It has not said how its runs are isolated.</p>}</div>
    </div>
  );
}

function warmth(warm: NonNullable<Executor["info"]>["warm"]): string {
  const starts = warm.runtimes.map((it) => (it.start === "cold" ? "cold" : `warm, from a ${it.start}`));
  const kinds = [...new Set(starts)].join(", ") || "cold";
  const ready = [warm.waiting > 0 ? `${count(warm.waiting)} wait` : "", warm.cells > 0 ? plural(warm.cells, "cell") : ""];
  const told = ready.filter(Boolean).join(", ");
  return told ? `${kinds} (${told})` : kinds;
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt class="muted">{name}</dt>
      <dd class="number">{children}</dd>
    </div>
  );
}

const GOOD = new Set(["success", "accepted"]);
const OURS = new Set(["cancelled"]);

function Statuses({ history }: { history: Executor["history"] }) {
  const rows = [...history.statuses].sort((a, b) => b.count - a.count);
  const all = rows.reduce((sum, it) => sum + it.count, 0);
  if (all === 0) return <p class="muted small">None in this time.</p>;
  return (
    <ul class="statuses number">
      {rows.map((it) => (
        <li key={it.status}>
          <span class="clip">{words(it.status)}</span>
          <span class="status-bar" aria-hidden="true">
            <span
              class={GOOD.has(it.status) ? "pass" : OURS.has(it.status) ? "none" : "warn"}
              style={{ width: `${Math.max(1, (it.count / all) * 100)}%` }}
            />
          </span>
          <span>{count(it.count)}</span>
        </li>
      ))}
    </ul>
  );
}

function IsolationMore({ isolation }: { isolation: Isolation }) {
  const { selfTest } = isolation;
  return (
    <>
      <h3>
        Isolation: L{isolation.rung} {isolation.level} <span class="muted">(refuses to start below {isolation.minimum})</span>
      </h3>
      <ul class="guarantees">
        {isolation.guarantees.map((it) => (
          <GuaranteeRow key={it.name} guarantee={it} />
        ))}
      </ul>
      {isolation.raise.length > 0 ? (
        <>
          <h3>Why not more</h3>
          <ul class="notes">
            {isolation.raise.map((it) => (
              <li key={it}>{sentence(it)}</li>
            ))}
          </ul>
        </>
      ) : isolation.rung >= 5 ? (
        <p class="muted small">There is no higher level.</p>
      ) : null}
      {isolation.outer.length > 0 ? <p class="muted small">Around it: {isolation.outer.join(", ")}.</p> : null}
      {selfTest ? (
        <p class={selfTest.passed ? "muted small" : "fault small"}>
          Hostile programs made {plural(selfTest.attempts, "attempt")} at {moment(Date.parse(selfTest.time))}:{" "}
          {selfTest.passed ? "every promise held." : "a promise was broken, so it takes no runs."}
        </p>
      ) : (
        <p class="muted small">It has not tested itself yet.</p>
      )}
    </>
  );
}

function GuaranteeRow({ guarantee }: { guarantee: Guarantee }) {
  return (
    <li>
      <span class="guarantee-name">{words(guarantee.name)}</span>
      <span class={`badge badge-${STRENGTHS[guarantee.strength]}`}>{guarantee.strength}</span>
      <span class="muted small">{guarantee.mechanism}</span>
    </li>
  );
}
