/** Jobs: what waits, what runs, and what became of the rest. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { plural } from "../lib/format";
import { poll } from "../lib/poll";
import { now } from "../lib/time";
import { announce } from "../shell/announce";
import { DataLink } from "../shell/data";
import { openMenus } from "../shell/menu";
import { place } from "../shell/router";
import { Choices, Tabs } from "./choices";
import { asked, isNarrowed, read } from "./filters";
import { List } from "./list";
import { Head, Waiting } from "./parts";
import type { Listing, Queue } from "./report";
import { Summary } from "./summary";

const PERIOD_MS = 2500;
const QUEUE_PERIOD_MS = 5000;

export default function JobsPage() {
  const list = useRef<HTMLDivElement>(null);
  const asking = useRef("");
  const polled = useMemo(() => {
    const path = () => {
      asking.current = location.search;
      return asked(read(location.search), now());
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
        The same as data: <DataLink href={asked(filters, now())}>/v1/jobs</DataLink>, <DataLink href="/v1/queue">/v1/queue</DataLink>.{" "}
        {isNarrowed(filters) ? "The numbers beside the states are of all languages, queues and times." : ""}
      </p>
    </div>
  );
}

function isSelecting(host: HTMLElement | null): boolean {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && host !== null && host.contains(selection.anchorNode);
}
