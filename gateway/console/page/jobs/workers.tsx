/** Workers: executors that call in for jobs, how they are, and what they have. */
import { useEffect, useMemo, useState } from "preact/hooks";

import { age, bytes, moment, plural } from "../lib/format";
import { poll } from "../lib/poll";
import { DataLink } from "../shell/data";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { useNow } from "../shell/live";
import { order } from "./acts";
import { Command, Fact, Head, Id, Waiting } from "./parts";
import type { Host, Worker } from "./report";

const PERIOD_MS = 2500;
/** Slots that are drawn one by one. */
const BOXES_MAX = 16;

export default function WorkersPage() {
  const polled = useMemo(() => poll<{ workers: Worker[] }>(() => "/v1/workers", PERIOD_MS), []);
  useEffect(() => polled.stop, [polled]);
  const now = useNow();
  const workers = polled.data.value?.workers;
  return (
    <div class="jobs">
      <Head title="Workers" polled={polled} what="The list of workers" />
      {!workers || polled.state.value === "refused" ? (
        <Waiting polled={polled} what="The workers" />
      ) : workers.length === 0 ? (
        <Nobody />
      ) : (
        <ul class={`workers ${polled.state.value === "stale" ? "is-stale" : ""}`} aria-label="Workers">
          {workers.map((it) => (
            <Card key={it.id} worker={it} now={now} again={polled.again} />
          ))}
        </ul>
      )}
      <p class="muted small foot">
        Executors that the gateway reaches itself are on the <Link href="/">fleet page</Link>. The same as data:{" "}
        <DataLink href="/v1/workers">/v1/workers</DataLink>.
      </p>
    </div>
  );
}

function Nobody() {
  return (
    <div class="card notice">
      <h2>No worker calls in</h2>
      <p>
        An executor that nobody can reach from outside runs jobs as a worker: it calls this gateway, and nothing calls it. With a key of the
        role <code>work</code>:
      </p>
      <Command label="A command that starts a worker" text={`EXECUTOR_PULL_URL=${location.origin} EXECUTOR_PULL_KEY=… executor-LANGUAGE`} />
    </div>
  );
}

type Order = "drain" | "resume";

function Card({ worker, now, again }: { worker: Worker; now: number; again: () => void }) {
  const { id, isLive, state, slots, jobs, host } = worker;
  // It hears of an order when it next calls, a moment later.
  const [ordered, setOrdered] = useState<Order>();
  const isDraining = state === "draining";
  useEffect(() => setOrdered(undefined), [state]);
  const wanted: Order = isDraining ? "resume" : "drain";
  const tone = !isLive ? "fail" : isDraining ? "warn" : "pass";
  const tell = async () => {
    if (!(await order(worker, wanted))) return;
    setOrdered(wanted);
    again();
  };
  return (
    <li class="card worker">
      <div class="worker-head">
        <h2>
          <span class={`dot dot-${tone}`} aria-hidden="true" />
          <span class="worker-name" title={id}>
            {id.slice(id.indexOf(":") + 1)}
          </span>
        </h2>
        <button type="button" class="button small" disabled={ordered !== undefined} onClick={tell}>
          {ordered === "drain" ? "Drains soon…" : ordered === "resume" ? "Resumes soon…" : isDraining ? "Resume" : "Drain"}
        </button>
      </div>
      <p class="small muted number">
        <span class={isLive ? (isDraining ? "warn-text" : "") : "fault"}>
          {isLive ? (isDraining ? "Drains: takes no more jobs" : "Takes jobs") : "Silent"}
        </span>
        , heard {age((now - Date.parse(worker.heardAt)) / 1000)} ago
      </p>
      <Load slots={slots} used={jobs.length} />
      {jobs.length > 0 ? (
        <ul class="worker-jobs" aria-label="Jobs that it has">
          {jobs.map((it) => (
            <li key={it}>
              <Link href={`/jobs/${it}`}>
                <Id id={it} />
              </Link>
            </li>
          ))}
        </ul>
      ) : null}
      {host ? <Metrics host={host} /> : <p class="small muted">It has not told how its machine is.</p>}
      <dl class="facts">
        <Fact name="Languages">{worker.languages.join(", ")}</Fact>
        <Fact name="Queues">{worker.queues.join(", ")}</Fact>
        <Fact name="Isolation">
          <span class="badge">
            <Icon name="shield" />
            {worker.isolation}
          </span>
        </Fact>
        <Fact name="Key">{id.slice(0, Math.max(0, id.indexOf(":")))}</Fact>
        <Fact name="Version">{worker.version}</Fact>
        {host ? <Fact name="Machine">{`${host.hostname}, ${host.kernel}`}</Fact> : null}
        <Fact name="Registered">{moment(Date.parse(worker.registeredAt))}</Fact>
      </dl>
    </li>
  );
}

function Load({ slots, used }: { slots: number; used: number }) {
  const boxes = Math.min(slots, BOXES_MAX);
  return (
    <p class="slots small muted number">
      <span class="slot-boxes" aria-hidden="true">
        {Array.from({ length: boxes }, (_, index) => (
          <span key={index} class={`slot ${index < Math.ceil((used / slots) * boxes) ? "slot-used" : ""}`} />
        ))}
      </span>
      {used} of {plural(slots, "slot")} in use
    </p>
  );
}

function Metrics({ host }: { host: Host }) {
  return (
    <div class="meters">
      <Meter name="Processors" share={host.cpu} text={`${Math.round(host.cpu * 100)} % of ${host.processors}`} />
      <Meter
        name="Memory"
        share={1 - host.memoryFreeBytes / host.memoryBytes}
        text={`${bytes(host.memoryFreeBytes)} of ${bytes(host.memoryBytes)} free`}
      />
      <Meter name="Disk" share={1 - host.diskFreeBytes / host.diskBytes} text={`${bytes(host.diskFreeBytes)} of ${bytes(host.diskBytes)} free`} />
    </div>
  );
}

/** Beyond these shares it is worth a look, and a fault to be. */
const HIGH = 0.8;
const FULL = 0.95;

function Meter({ name, share, text }: { name: string; share: number; text: string }) {
  const part = Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
  const tone = part >= FULL ? "fail" : part >= HIGH ? "warn" : "pass";
  return (
    <div class="meter small">
      <span class="muted">{name}</span>
      <span class="meter-bar" aria-hidden="true">
        <span class={`meter-${tone}`} style={{ width: `${part * 100}%` }} />
      </span>
      <span class="number">{text}</span>
    </div>
  );
}
