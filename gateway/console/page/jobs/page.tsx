/** Jobs: what waits, what runs, and what became of the rest. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { age, bytes, count, duration, plural, words } from "../lib/format";
import { key } from "../lib/key";
import type { Polled } from "../lib/fresh";
import { poll } from "../lib/poll";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { useNow } from "../shell/live";
import { Menu, openMenus } from "../shell/menu";
import { go, place } from "../shell/router";
import { cancel, copy, redrive, redriveAll } from "./acts";
import { asked, changed, type Filters, isNarrowed, read, WITHINS, written } from "./filters";
import { capital, Command, Head, Id, StateBadge, Waiting, when } from "./parts";
import { isFinal, type Job, type Listing, type Queue, ranMs, reasonOf, STATES, totals } from "./report";
import { curl } from "./submission";

const PERIOD_MS = 2500;
const QUEUE_PERIOD_MS = 5000;

export default function JobsPage() {
  const list = useRef<HTMLDivElement>(null);
  const asking = useRef("");
  const polled = useMemo(() => {
    const path = () => {
      asking.current = location.search;
      return asked(read(location.search), Date.now());
    };
    return poll<Listing>(path, PERIOD_MS, () => openMenus.value > 0 || isSelecting(list.current));
  }, []);
  const queue = useMemo(() => poll<Queue>(() => "/v1/queue", QUEUE_PERIOD_MS), []);
  useEffect(
    () => () => {
      polled.stop();
      queue.stop();
    },
    [],
  );
  const search = place.value.search;
  const [shownFor, setShownFor] = useState<string>();
  useEffect(() => {
    if (asking.current !== search) polled.again();
  }, [search]);
  const at = polled.at.value;
  useEffect(() => {
    if (at) setShownFor(asking.current);
  }, [at]);

  const filters = read(search);
  const listing = polled.data.value;
  const isRefused = polled.problem.value !== undefined && (polled.state.value === "refused" || polled.problem.value.status === 422);
  const number = listing?.jobs.length;
  useEffect(() => {
    if (shownFor !== undefined && number !== undefined) announce(`${plural(number, "job")} shown`);
  }, [shownFor]);
  return (
    <div class="jobs">
      <Head title="Jobs" polled={polled} what="The list of jobs" />
      {polled.problem.value?.code === "no_store" ? null : <Summary polled={queue} />}
      {listing || isRefused ? <Tabs filters={filters} listing={listing} /> : null}
      {listing || isRefused ? <Choices filters={filters} queue={queue.data.value} listing={listing} /> : null}
      {listing && !isRefused ? (
        <div ref={list} class={polled.state.value === "stale" ? "is-stale" : ""} aria-busy={shownFor !== search}>
          <List listing={listing} filters={filters} again={polled.again} />
        </div>
      ) : (
        <Waiting polled={polled} what="The jobs" />
      )}
      <p class="muted small foot">
        The same as data: <a href={asked(filters, Date.now())}>/v1/jobs</a>, <a href="/v1/queue">/v1/queue</a>.{" "}
        {isNarrowed(filters) ? "The numbers beside the states are of all languages, queues and times." : ""}
      </p>
    </div>
  );
}

function isSelecting(host: HTMLElement | null): boolean {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && host !== null && host.contains(selection.anchorNode);
}

const DURABILITY: Record<string, string> = {
  power_loss: "survives loss of power",
  process_crash: "survives a crash",
  about_a_second: "but for the last second",
};
const HEALTH = { pass: "Well", warn: "Wants a look", fail: "Fails" } as const;

function Summary({ polled }: { polled: Polled<Queue> }) {
  const queue = polled.data.value;
  const all = queue && totals(queue);
  return (
    <section class="card summary" aria-label="The queue" aria-busy={!queue}>
      <dl class="tiles">
        <Tile name="Queue" value={queue ? HEALTH[queue.health] : "–"} more={queue?.reason ? capital(queue.reason) : "jobs are taken and run"} tone={queue?.health} />
        <Tile
          name="Ready"
          value={all ? count(all.ready) : "–"}
          more={all?.oldestReadyMs ? `oldest waits ${age(all.oldestReadyMs / 1000)}` : all?.scheduled ? `${count(all.scheduled)} scheduled` : "none waits"}
        />
        <Tile name="Running" value={all ? count(all.leased) : "–"} more={queue ? `on ${plural(queue.slots, "slot")}` : ""} />
        <Tile name="Dead" value={all ? count(all.dead) : "–"} more={all?.dead ? "can be redriven" : "none"} tone={all?.dead ? "fail" : undefined} />
        <Tile
          name="Run by"
          value={queue ? count(queue.executors + queue.workers) : "–"}
          more={queue ? `${plural(queue.executors, "executor")}, ${plural(queue.workers, "worker")}` : ""}
        />
        <Tile name="Store" value={queue ? bytes(queue.bytes) : "–"} more={queue ? (DURABILITY[queue.durability] ?? words(queue.durability)) : ""} />
      </dl>
    </section>
  );
}

function Tile({ name, value, more, tone }: { name: string; value: string; more: string; tone?: string | undefined }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd class={`tile-value number ${tone === "fail" ? "fault" : tone === "warn" ? "warn-text" : ""}`}>{value}</dd>
      <dd class="muted small">{more}</dd>
    </div>
  );
}

/** The states, with how many jobs are in each. */
function Tabs({ filters, listing }: { filters: Filters; listing: Listing | undefined }) {
  const counts = listing?.counts;
  const all = counts && STATES.reduce((sum, it) => sum + counts[it], 0);
  const host = useRef<HTMLElement>(null);
  useEffect(() => host.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [filters.state]);
  return (
    <nav class="states" aria-label="State" ref={host}>
      <ul>
        {[undefined, ...STATES].map((state) => {
          const number = state ? counts?.[state] : all;
          return (
            <li key={state ?? "all"}>
              <Link href={`/jobs${written(changed(filters, { state }))}`} class={`state-tab ${state === "dead" && number ? "has-dead" : ""}`} current={filters.state === state}>
                {state ? capital(state) : "All"} <span class="number muted">{number === undefined ? "–" : count(number)}</span>
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

function Choices({ filters, queue, listing }: { filters: Filters; queue: Queue | undefined; listing: Listing | undefined }) {
  const choose = (changes: Parameters<typeof changed>[1]) => go(`/jobs${written(changed(filters, changes))}`);
  const unique = (names: (string | null | undefined)[]) => [...new Set(names.filter((it) => it))].sort() as string[];
  const languages = unique([...(queue?.languages.map((it) => it.language) ?? []), filters.language]);
  const queues = unique([...(queue?.languages.map((it) => it.queue) ?? []), filters.queue]);
  const named = filters.caller === "*" ? undefined : filters.caller;
  const callers = unique([...(filters.caller ? (listing?.jobs.map((it) => it.caller) ?? []) : []), named]);
  return (
    <div class="choices">
      <Choice id="caller" name="Whose" value={filters.caller ?? ""} onChoose={(caller) => choose({ caller })}>
        <option value="">{key.value ? "Those of this key" : "Mine"}</option>
        <option value="*">Everybody’s</option>
        {callers.map((it) => (
          <option key={it} value={it}>
            {it}
          </option>
        ))}
      </Choice>
      <Choice id="language" name="Language" value={filters.language ?? ""} onChoose={(language) => choose({ language })}>
        <option value="">Any</option>
        {languages.map((it) => (
          <option key={it}>{it}</option>
        ))}
      </Choice>
      <Choice id="queue" name="Queue" value={filters.queue ?? ""} onChoose={(name) => choose({ queue: name })}>
        <option value="">Any</option>
        {queues.map((it) => (
          <option key={it}>{it}</option>
        ))}
      </Choice>
      <Choice id="within" name="Submitted" value={filters.within ?? ""} onChoose={(within) => choose({ within })}>
        <option value="">any time</option>
        {WITHINS.map((it) => (
          <option key={it.id} value={it.id}>
            {it.name}
          </option>
        ))}
      </Choice>
      {isNarrowed(filters) || filters.caller ? (
        <Link href={`/jobs${written(changed({}, { state: filters.state }))}`} class="button quiet">
          Clear
        </Link>
      ) : null}
    </div>
  );
}

interface ChoiceProps {
  id: string;
  name: string;
  value: string;
  onChoose: (value: string | undefined) => void;
  children: preact.ComponentChildren;
}

function Choice({ id, name, value, onChoose, children }: ChoiceProps) {
  return (
    <div class="field">
      <label for={id}>{name}</label>
      <select id={id} value={value} onChange={(event) => onChoose(event.currentTarget.value || undefined)}>
        {children}
      </select>
    </div>
  );
}

function List({ listing, filters, again }: { listing: Listing; filters: Filters; again: () => void }) {
  const now = useNow();
  const { jobs, next } = listing;
  const hasCallers = filters.caller !== undefined;
  if (jobs.length === 0) return <Nothing listing={listing} filters={filters} />;
  const dead = jobs.filter((it) => it.state === "dead");
  return (
    <>
      {filters.state === "dead" ? (
        <div class="dead-bar">
          <p class="muted small">Dead jobs could not be run, and wait here for whatever was wrong to be put right.</p>
          <button type="button" class="button" onClick={async () => (await redriveAll(dead)) && again()}>
            <Icon name="again" />
            {dead.length === 1 ? "Redrive the one shown" : `Redrive all ${dead.length} shown`}
          </button>
        </div>
      ) : null}
      <table class={`card job-table ${hasCallers ? "has-callers" : ""}`} role="table" aria-label="Jobs">
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" scope="col">State</th>
            <th role="columnheader" scope="col">Job</th>
            <th role="columnheader" scope="col">Language</th>
            {hasCallers ? <th role="columnheader" scope="col">Key</th> : null}
            <th role="columnheader" scope="col" class="end">Attempts</th>
            <th role="columnheader" scope="col" class="end">Took</th>
            <th role="columnheader" scope="col" class="end">Submitted</th>
            <th role="columnheader" scope="col">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {jobs.map((it) => (
            <Row key={it.id} job={it} now={now} hasCallers={hasCallers} again={again} />
          ))}
        </tbody>
      </table>
      <div class="pages">
        {filters.cursor ? (
          <Link href={`/jobs${written(changed(filters, {}))}`} class="button small">
            Newest
          </Link>
        ) : null}
        <span class="muted small number">
          {plural(jobs.length, "job")}
          {filters.cursor ? "" : next ? ", the newest first" : ""}
        </span>
        {next ? (
          <Link href={`/jobs${written({ ...filters, cursor: next })}`} class="button small">
            Older
          </Link>
        ) : null}
      </div>
    </>
  );
}

function Row({ job, now, hasCallers, again }: { job: Job; now: number; hasCallers: boolean; again: () => void }) {
  const created = Date.parse(job.createdAt);
  const href = `/jobs/${job.id}`;
  const why = job.state === "dead" || job.state === "scheduled" ? job.reason : null;
  return (
    <tr role="row">
      <td role="cell" class="cell-state">
        <StateBadge state={job.state} />
      </td>
      <td role="cell" class="cell-job">
        <Link href={href}>
          <Id id={job.id} />
        </Link>
        {why ? <span class="clip small muted" title={why}>{reasonOf(why)}</span> : null}
        {job.cancelRequested && !isFinal(job) ? <span class="small warn-text">Is to be cancelled</span> : null}
      </td>
      <td role="cell" class="cell-language">
        <span class="clip" title={`${job.language}, queue ${job.queue}`}>
          {job.language}
          {job.queue === "default" ? null : <span class="muted"> · {job.queue}</span>}
        </span>
      </td>
      {hasCallers ? (
        <td role="cell" class="cell-caller">
          <span class="clip muted" title={job.caller ?? undefined}>{job.caller ?? "–"}</span>
        </td>
      ) : null}
      <td role="cell" class="cell-attempts end number">
        <span class={job.attempt > 1 ? "warn-text" : "muted"}>
          {job.attempt}
          <span class="muted">/{job.attemptsMax}</span>
        </span>
      </td>
      <td role="cell" class="cell-took end number">{duration(ranMs(job, now))}</td>
      <td role="cell" class="cell-when end number muted" title={when(created, now)}>
        {age((now - created) / 1000)}<span class="ago"> ago</span>
      </td>
      <td role="cell" class="cell-menu">
        <Menu
          title={`Actions for job ${job.id.slice(-12)}`}
          isOfRow
          items={[
            { title: "Open", choose: () => go(href) },
            { title: "Copy its id", choose: () => void copy(job.id, "The id is") },
            ...(job.state === "dead" ? [{ title: "Redrive", choose: async () => (await redrive(job)) && again() }] : []),
            ...(isFinal(job) ? [] : [{ title: "Cancel…", isDangerous: true, choose: async () => (await cancel(job)) && again() }]),
          ]}
        />
      </td>
    </tr>
  );
}

const EXAMPLE = { language: "python", code: "print(6 * 7)" };

function Nothing({ listing, filters }: { listing: Listing; filters: Filters }) {
  const all = listing.counts ? STATES.reduce((sum, it) => sum + (listing.counts?.[it] ?? 0), 0) : 0;
  if (all === 0) {
    return (
      <div class="card notice">
        <h2>No jobs yet</h2>
        <p>What need not be answered at once is a job: it is kept until there is room to run it, and its result waits to be fetched. Submit one:</p>
        <Command label="A command that submits a job" text={curl(location.origin, EXAMPLE, key.value !== undefined).trim()} />
        <p class="muted">It appears here by itself. Jobs of others are under “Whose: everybody’s”, for keys with the role admin.</p>
      </div>
    );
  }
  if (filters.state === "dead" && !isNarrowed(filters)) {
    return (
      <div class="card notice">
        <h2>No dead jobs</h2>
        <p>
          A job is dead when it cannot be run: its attempts came to nothing, or two workers in a row were lost with it. A program that fails
          is no reason. It would wait here to be redriven.
        </p>
      </div>
    );
  }
  return (
    <div class="card notice">
      <h2>No job is like that</h2>
      <p>{filters.cursor ? "There are no older ones." : `None of ${plural(all, "job")} is what you ask for.`}</p>
      <Link href={`/jobs${written(changed({}, { caller: filters.caller }))}`} class="button">
        Show all
      </Link>
    </div>
  );
}
