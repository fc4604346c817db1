/** The same job run once more, beside its first result. */
import { useEffect, useMemo, useRef } from "preact/hooks";

import { follow } from "../lib/follow";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import { note } from "../shell/router";
import { facts, verdict } from "./compare";
import { Id, StateBadge } from "./parts";
import { isFinal, type Result, type Shown } from "./report";
import { Output } from "./result";

/** `job` has a result; `id` is the job that was made of it. */
export function SideBySide({ job, id }: { job: Shown; id: string }) {
  const polled = useMemo(() => follow<Shown>(`/v1/jobs/${encodeURIComponent(id)}/events`, isFinal), []);
  useEffect(() => polled.stop, [polled]);
  const host = useRef<HTMLElement>(null);
  useEffect(() => host.current?.scrollIntoView({ block: "nearest" }), []);
  const other = polled.data.value;
  const before = job.result;
  const after = other?.result;
  const found = before && after ? verdict(before, after) : undefined;
  useEffect(() => {
    if (found) announce(found.text);
  }, [found?.text]);
  if (!before) return null;
  return (
    <section class="card again" aria-labelledby="again-title" ref={host}>
      <div class="bar">
        <h2 id="again-title" class="bar-title">
          Run again
          {found ? (
            <span class={`badge badge-${found.isSame ? "pass" : "warn"}`}>{found.isSame ? "Same" : "Different"}</span>
          ) : other ? (
            <StateBadge state={other.state} />
          ) : null}
        </h2>
        <button type="button" class="icon-button bar-end" aria-label="Close the comparison" onClick={() => note({ again: undefined })}>
          <Icon name="close" />
        </button>
      </div>
      {found ? <p class={`again-verdict ${found.isSame ? "" : "warn-text"}`}>{found.text}</p> : null}
      <div class="again-sides">
        <Side title="Before" job={job} result={before} />
        <Side title="Again" job={other} result={after} id={id} problem={polled.problem.value?.message} />
      </div>
      {after ? <Facts before={before} after={after} /> : null}
    </section>
  );
}

interface SideProps {
  title: string;
  job: Shown | undefined;
  result: Result | undefined;
  id?: string;
  problem?: string | undefined;
}

function Side({ title, job, result, id, problem }: SideProps) {
  return (
    <div class="again-side">
      <h3>
        {title}{" "}
        {id ? (
          <Link href={`/jobs/${id}`}>
            <Id id={id} />
          </Link>
        ) : null}
      </h3>
      {result ? (
        <Output result={result} name={title === "Before" ? "the first run" : "the second run"} />
      ) : (
        <p class="muted pad">{problem ?? (job && isFinal(job) ? "It has no result." : "Its output appears here once it has ended.")}</p>
      )}
    </div>
  );
}

function Facts({ before, after }: { before: Result; after: Result }) {
  return (
    <div class="again-facts">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">
              <span class="visually-hidden">What</span>
            </th>
            <th scope="col">Before</th>
            <th scope="col">Again</th>
            <th scope="col">
              <span class="visually-hidden">Change</span>
            </th>
          </tr>
        </thead>
        <tbody class="number">
          {facts(before, after).map((it) => (
            <tr key={it.name} class={it.isOdd ? "is-odd" : ""}>
              <th scope="row">{it.name}</th>
              <td>{it.before}</td>
              <td>{it.after}</td>
              <td class="muted">{it.isOdd ? <span class="warn-text">differs</span> : (it.change ?? "")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
