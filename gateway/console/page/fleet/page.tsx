/** The fleet, as its gateway sees it: how well it is, how fast, and how strongly its runs are isolated. */
import { useEffect, useMemo, useRef } from "preact/hooks";

import { age, clock, count, durability, duration, moment, plural, sentence } from "../lib/format";
import type { Polled } from "../lib/fresh";
import { poll } from "../lib/poll";
import { announce } from "../shell/announce";
import { DataLink } from "../shell/data";
import { Live, useNow } from "../shell/live";
import { note, place } from "../shell/router";
import { Tile } from "../shell/tile";
import { ExecutorCard } from "./executor";
import { Asked, type Fleet, news, ordered, WINDOWS, withPoints } from "./report";

const PERIOD_MS = 2000;

export default function FleetPage() {
  const wanted = new URLSearchParams(place.value.search).get("window");
  const window = WINDOWS.find((it) => it.id === wanted)?.id ?? "1h";
  const polled = useMemo(() => {
    const asked = new Asked(window);
    const polled = poll<Fleet>(() => asked.path(), PERIOD_MS);
    polled.data.subscribe((it) => it && asked.take(it));
    return Object.assign(polled, { asked });
  }, []);
  useEffect(() => polled.stop, [polled]);
  // Links change the address as well.
  useEffect(() => {
    if (polled.asked.look(window)) polled.again();
  }, [window]);
  // Whoever has no key any more is not shown what there was with it.
  const told = polled.state.value === "refused" ? undefined : polled.data.value;
  const before = useRef<Fleet | undefined>(undefined);
  const fleet = useMemo(() => told && withPoints(told, before.current), [told]);
  useEffect(() => {
    if (!fleet) return;
    const changes = news(fleet, before.current);
    if (changes.length > 0) announce(changes.join(", "));
    before.current = fleet;
  }, [fleet]);
  return (
    <div class="fleet">
      <div class="fleet-head">
        <div>
          <h1>Fleet</h1>
          <Verdict fleet={fleet} polled={polled} />
        </div>
        <div class="fleet-controls">
          <Live polled={polled} what="The fleet's state" />
          <fieldset class="choice">
            <legend class="visually-hidden">How far back</legend>
            {WINDOWS.map((it) => (
              <label key={it.id}>
                <input type="radio" name="window" value={it.id} checked={it.id === window} onChange={() => note({ window: it.id === "1h" ? undefined : it.id })} />
                {it.name}
              </label>
            ))}
          </fieldset>
        </div>
      </div>
      {fleet ? <Contents fleet={fleet} isStale={polled.state.value === "stale"} /> : <Waiting polled={polled} />}
    </div>
  );
}

function Verdict({ fleet, polled }: { fleet: Fleet | undefined; polled: Polled<Fleet> }) {
  if (!fleet) {
    const problem = polled.problem.value;
    const text = problem?.status === 401 ? "It is shown to whoever has a key." : (problem?.message ?? "Asking the gateway…");
    return <p class="verdict muted">{text}</p>;
  }
  const live = fleet.executors.filter((it) => it.status !== "fail");
  const slots = live.reduce((sum, it) => sum + it.slots, 0);
  const free = live.reduce((sum, it) => sum + it.slotsFree, 0);
  const text =
    fleet.executors.length === 0
      ? "No executors"
      : live.length === fleet.executors.length
        ? fleet.gateway.status === "warn"
          ? "All executors are up, and something wants a look"
          : "All executors are up"
        : live.length === 0
          ? "No executor can be reached"
          : `${live.length} of ${plural(fleet.executors.length, "executor")} are up`;
  return (
    <p class="verdict">
      <span class={`dot dot-${fleet.gateway.status}`} aria-hidden="true" />
      <strong>{text}</strong>
      {slots > 0 ? <span class="muted number"> · {free} of {plural(slots, "slot")} free</span> : null}
    </p>
  );
}

function Waiting({ polled }: { polled: Polled<Fleet> }) {
  const problem = polled.problem.value;
  if (!problem) return <div class="loading" aria-hidden="true" />;
  if (problem.status === 401) return null;
  return (
    <div class="card notice" role="alert">
      <h2>The fleet cannot be shown</h2>
      <p>{problem.message}</p>
      {problem.requestId ? <p class="muted small">Request {problem.requestId}</p> : null}
      <button type="button" class="button" onClick={polled.again}>
        Ask again
      </button>
    </div>
  );
}

function Contents({ fleet, isStale }: { fleet: Fleet; isStale: boolean }) {
  const now = useNow();
  const long = WINDOWS.find((it) => it.id === fleet.window)?.long ?? "";
  return (
    <div class={isStale ? "is-stale" : ""}>
      <Gateway fleet={fleet} now={now} />
      {fleet.executors.length === 0 ? (
        <div class="card notice">
          <h2>This gateway knows no executors</h2>
          <p>
            Start one and tell the gateway where it is, such as <code>NAME_EXECUTOR_URL=http://127.0.0.1:8001</code>, or start all of them
            with <code>scripts/up</code>.
          </p>
        </div>
      ) : (
        <section aria-label="Executors">
          <ul class="executors">
            {ordered(fleet.executors).map((it) => (
              <ExecutorCard key={it.label} executor={it} fleet={fleet} now={now} long={long} />
            ))}
          </ul>
        </section>
      )}
      <p class="muted small foot">
        Times are of {long}, from the gateway&rsquo;s request to the executor&rsquo;s answer. The history is kept in the gateway&rsquo;s
        memory: 10 s by 10 s for an hour, then coarser, for a week at most, and not beyond its start at{" "}
        <span class="number">{clock(Date.parse(fleet.gateway.startedAt))}</span>. The same as data:{" "}
        <DataLink href="/v1/fleet">/v1/fleet</DataLink>, <DataLink href="/metrics">/metrics</DataLink>,{" "}
        <DataLink href="/health">/health</DataLink>.
      </p>
    </div>
  );
}

function Gateway({ fleet, now }: { fleet: Fleet; now: number }) {
  const { gateway, executors } = fleet;
  const runs = executors.flatMap((it) => it.history.statuses);
  const all = runs.reduce((sum, it) => sum + it.count, 0);
  const inFlight = executors.reduce((sum, it) => sum + it.inFlight, 0);
  const jobs = gateway.jobs;
  const waiting = executors.reduce((sum, it) => sum + it.waiting, 0);
  return (
    <section class="card gateway" aria-labelledby="gateway-title">
      <h2 id="gateway-title">
        Gateway <span class="muted small number">{gateway.version}</span>
        {gateway.draining ? <span class="badge badge-warn">drains</span> : null}
      </h2>
      {gateway.output && gateway.status !== "pass" ? <p class={`gateway-output ${gateway.status}`}>{sentence(gateway.output)}</p> : null}
      <dl class="tiles">
        <Tile
          name="Up for"
          value={age((now - Date.parse(gateway.startedAt)) / 1000)}
          more={`since ${moment(Date.parse(gateway.startedAt)).replace(/:\d\d$/, "")}`}
        />
        <Tile name="Runs now" value={count(inFlight)} more={`${waiting > 0 ? count(waiting) : "none"} ${waiting > 1 ? "wait" : "waits"} for a slot`} />
        <Tile name="Runs" value={count(all)} more={`in ${WINDOWS.find((it) => it.id === fleet.window)?.long ?? ""}`} />
        {jobs ? (
          <>
            <Tile
              name="Jobs waiting"
              value={jobs.counts ? count(jobs.counts.ready + jobs.counts.scheduled) : "–"}
              more={jobsMore(jobs.counts)}
            />
            <Tile
              name="Job store"
              value={jobs.well ? "Well" : "Fails"}
              more={jobs.well ? durability(jobs.durability) : "jobs cannot be kept now"}
              tone={jobs.well ? undefined : "fail"}
            />
          </>
        ) : (
          <Tile name="Job store" value="None" more="set GATEWAY_STORE_URL to keep jobs" />
        )}
        <Tile name="Workers" value={count(gateway.workers)} more={gateway.workers === 0 ? "none calls in" : gateway.workers === 1 ? "calls in for jobs" : "call in for jobs"} />
      </dl>
    </section>
  );
}

function jobsMore(counts: NonNullable<Fleet["gateway"]["jobs"]>["counts"]): string {
  if (!counts) return "the store does not say";
  const parts = [`${count(counts.leased)} running`];
  if (counts.dead > 0) parts.push(`${count(counts.dead)} dead`);
  if (counts.oldestReadyMs && counts.oldestReadyMs > 1000) parts.push(`oldest ${duration(counts.oldestReadyMs)}`);
  return parts.join(" · ");
}
