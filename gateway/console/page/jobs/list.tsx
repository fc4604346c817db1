/** A page of jobs, what can be done with each, and what is said where there are none. */
import { age, duration, plural } from "../lib/format";
import { key } from "../lib/key";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { useNow } from "../shell/live";
import { Menu } from "../shell/menu";
import { go } from "../shell/router";
import { cancel, copy, redrive, redriveAll, tell } from "./acts";
import { changed, type Filters, isNarrowed, written } from "./filters";
import { Command, Id, StateBadge, useExample, when } from "./parts";
import { isFinal, type Job, type Listing, ranMs, reasonOf, STATES } from "./report";
import { curl } from "./submission";

export function List({ listing, filters, again }: { listing: Listing; filters: Filters; again: () => void }) {
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
  const end = async () => {
    const done = await cancel(job);
    if (!done) return;
    tell(done.state === "cancelled" ? "The job is cancelled" : "Its worker is told to stop it");
    again();
  };
  const revive = async () => {
    if (!(await redrive(job))) return;
    tell("The job is ready again");
    again();
  };
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
        <td role="cell" class={`cell-caller ${job.caller ? "" : "is-none"}`}>
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
            ...(job.state === "dead" ? [{ title: "Redrive", choose: revive }] : []),
            ...(isFinal(job) ? [] : [{ title: "Cancel…", isDangerous: true, choose: end }]),
          ]}
        />
      </td>
    </tr>
  );
}

function Nothing({ listing, filters }: { listing: Listing; filters: Filters }) {
  const example = useExample();
  const all = listing.counts ? STATES.reduce((sum, it) => sum + (listing.counts?.[it] ?? 0), 0) : 0;
  if (all === 0) {
    return (
      <div class="card notice">
        <h2>No jobs yet</h2>
        <p>What need not be answered at once is a job: it is kept until there is room to run it, and its result waits to be fetched. Submit one:</p>
        <Command label="A command that submits a job" text={curl(location.origin, example, key.value !== undefined).trim()} />
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
