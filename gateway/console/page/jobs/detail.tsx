/** One job: how it came to be what it is, what it runs, and what came of it. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { get, Problem } from "../lib/api";
import { age, moment, plural } from "../lib/format";
import { follow } from "../lib/follow";
import { now as timeNow } from "../lib/time";
import { ending, titleOf } from "../run/standing";
import { announce } from "../shell/announce";
import { DataLink } from "../shell/data";
import { Link } from "../shell/link";
import { Live, useNow } from "../shell/live";
import { place, type PlaceProps } from "../shell/router";
import { Actions } from "./actions";
import { told } from "./acts";
import { SideBySide } from "./again";
import { Fact, Id, Notice, Waiting } from "./parts";
import { type Callback, isFinal, type Shown } from "./report";
import { ResultPane } from "./result";
import { Sources } from "./sources";
import { Standing } from "./standing";
import { Steps } from "./steps";
import type { Submission } from "./submission";

export default function JobPage({ params }: PlaceProps) {
  return <Followed key={params.id} id={params.id ?? ""} />;
}

function Followed({ id }: { id: string }) {
  const polled = useMemo(() => follow<Shown>(`/v1/jobs/${encodeURIComponent(id)}/events`, isFinal), []);
  useEffect(() => polled.stop, [polled]);
  useEffect(() => () => void (told.value = undefined), []);
  const job = polled.data.value;
  const toldAt = useMemo(timeNow, [job]);
  const before = useRef<Shown>(undefined);
  useEffect(() => {
    if (job && before.current && job.state !== before.current.state) announce(said(job));
    before.current = job;
  }, [job]);
  return (
    <div class="job">
      <p class="crumbs">
        <Link href="/jobs">Jobs</Link>
        {job ? (
          <>
            <span aria-hidden="true"> / </span>
            <Link href={`/jobs?state=${job.state}`}>{job.state}</Link>
          </>
        ) : null}
      </p>
      <div class="jobs-head">
        <h1>
          <span class="job-title">Job</span> <Id id={id} />
        </h1>
        {(job && isFinal(job)) || polled.problem.value?.status === 404 ? null : <Live polled={polled} what="The job" />}
      </div>
      <Notice />
      {job && polled.state.value !== "refused" ? (
        <Contents job={job} toldAt={toldAt} follow={polled.again} />
      ) : (
        <Waiting polled={polled} what="The job" />
      )}
    </div>
  );
}

function said(job: Shown): string {
  const result = job.result ? `: ${[titleOf(job.result.status), ending(job.result)].filter(Boolean).join(", ")}` : "";
  return `The job is ${job.state}${result}`;
}

/** What is run, and what the language calls a program without a name. */
function useSubmission(job: Shown): { submission: Submission | undefined; entry: string; problem: Problem | undefined } {
  const [submission, setSubmission] = useState<Submission>();
  const [entry, setEntry] = useState("program");
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    const gone = new AbortController();
    get<Submission>(`/v1/jobs/${job.id}/submission`, gone.signal).then(setSubmission, (error: unknown) => {
      if (error instanceof Problem) setProblem(error);
    });
    // Where nobody tells of the language any more, the name is a guess.
    get<{ entry: string }>(`/v1/languages/${encodeURIComponent(job.language)}`, gone.signal).then((it) => setEntry(it.entry), () => undefined);
    return () => gone.abort();
  }, [job.id]);
  return { submission, entry, problem };
}

/** What became of its callback, if it has one that was not taken. */
function useCallback(job: Shown): Callback | undefined {
  const [callback, setCallback] = useState<Callback>();
  const isOver = isFinal(job);
  useEffect(() => {
    if (!isOver) return;
    const gone = new AbortController();
    get<{ callbacks: Callback[] }>("/v1/callbacks", gone.signal).then(
      ({ callbacks }) => setCallback(callbacks.find((it) => it.jobId === job.id)),
      () => undefined,
    );
    return () => gone.abort();
  }, [job.id, isOver]);
  return callback;
}

function Contents({ job, toldAt, follow }: { job: Shown; toldAt: number; follow: () => void }) {
  const now = useNow();
  const { submission, entry, problem } = useSubmission(job);
  const callback = useCallback(job);
  const other = new URLSearchParams(place.value.search).get("again") ?? undefined;
  return (
    <>
      <section class="card job-standing" aria-label="Where it stands">
        <Standing job={job} now={now} toldAt={toldAt} />
        <Actions job={job} submission={submission} entry={entry} follow={follow} />
        <dl class="job-facts">
          <Fact name="Language">{job.result?.version ? `${job.language} ${job.result.version}` : job.language}</Fact>
          <Fact name="Queue">{job.queue}</Fact>
          <Fact name="Priority">{job.priority}</Fact>
          <Fact name="Attempts">
            {job.attempt} of {job.attemptsMax}
          </Fact>
          {job.caller ? <Fact name="Key">{job.caller}</Fact> : null}
          <Fact name="Submitted">
            <span title={moment(Date.parse(job.createdAt))}>{age((now - Date.parse(job.createdAt)) / 1000)} ago</span>
          </Fact>
          {callback ? (
            <Fact name="Callback">
              <span class={callback.dueAt ? "warn-text" : "fault"} title={callback.reason ?? undefined}>
                {callback.dueAt ? `not taken yet, ${plural(callback.attempt, "try", "tries")}` : "given up"}
              </span>
            </Fact>
          ) : null}
        </dl>
      </section>
      {other && job.result ? <SideBySide key={other} job={job} id={other} /> : null}
      <div class="job-panes">
        <div>
          <section class="card pad" aria-labelledby="timeline-title">
            <h2 id="timeline-title">Timeline</h2>
            <Steps job={job} now={now} />
          </section>
          <section class="card" aria-label="Result">
            {job.result ? <ResultPane result={job.result} /> : <NoResult job={job} />}
          </section>
        </div>
        {submission ? (
          <Sources submission={submission} entry={entry} />
        ) : (
          <section class="card pad" aria-labelledby="submission-title">
            <h2 id="submission-title">Submission</h2>
            <p class="muted">{problem?.message ?? "…"}</p>
          </section>
        )}
      </div>
      <p class="muted small foot">
        The same as data: <DataLink href={`/v1/jobs/${job.id}`}>/v1/jobs/{job.id}</DataLink>,{" "}
        <DataLink href={`/v1/jobs/${job.id}/submission`}>its submission</DataLink>,{" "}
        <DataLink href={`/v1/jobs/${job.id}/events`}>its events</DataLink>.
      </p>
    </>
  );
}

function NoResult({ job }: { job: Shown }) {
  const text: Record<string, string> = {
    dead: "A dead job has no result: no attempt came to its end. Redrive it once what was wrong is put right.",
    cancelled: "It was cancelled before it had a result.",
    expired: "An expired job was never run.",
  };
  return (
    <>
      <div class="bar">
        <h2 class="bar-title">Result</h2>
      </div>
      <p class="muted pad">{text[job.state] ?? "Its output appears here once the program has ended."}</p>
    </>
  );
}
