/** Latency over time, as a chart and as a table. The chart is loaded when it is looked at first. */
import { useEffect, useRef, useState } from "preact/hooks";

import { count, duration, plural } from "../lib/format";
import type { Plot } from "./plot";
import { type Frame, filled, type Point, timeOf } from "./report";

interface LatencyProps {
  frame: Frame;
  points: Point[];
  name: string;
}

export function Latency({ frame, points, name }: LatencyProps) {
  const [at, setAt] = useState<number>();
  const [asTable, setAsTable] = useState(false);
  if (points.every((it) => !it.latencyMs)) return <p class="muted small">No program ran in this time.</p>;
  const steps = filled(frame, points);
  const point = at === undefined ? undefined : steps[at];
  return (
    <figure class="latency">
      <figcaption class="row">
        <span class="small">
          <strong>Latency</strong> <span class="key key-p50">p50</span> <span class="key key-p95">p95</span>{" "}
          <span class="key key-runs">runs</span>
        </span>
        <span class="small muted number latency-now">
          {point?.latencyMs && at !== undefined
            ? `${timeOf(frame, at)} · p50 ${duration(point.latencyMs.p50)} · p95 ${duration(point.latencyMs.p95)} · ${plural(point.runs, "run")}`
            : plural(points.reduce((sum, it) => sum + it.runs, 0), "run")}
        </span>
        <button type="button" class="button quiet small" aria-expanded={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? "Hide table" : "As a table"}
          <span class="visually-hidden"> of the latency of {name}</span>
        </button>
      </figcaption>
      <Chart frame={frame} points={points} onLook={setAt} />
      {asTable ? <Table frame={frame} steps={steps} name={name} /> : null}
    </figure>
  );
}

/** What is drawn is in the table as well, so nothing of it is said aloud. */
function Chart({ frame, points, onLook }: { frame: Frame; points: Point[]; onLook: (index: number | undefined) => void }) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<Plot | undefined>(undefined);
  const newest = useRef({ frame, points });
  newest.current = { frame, points };
  useEffect(() => {
    let isGone = false;
    void import("./plot").then(({ plot }) => {
      const { frame, points } = newest.current;
      if (!isGone && host.current) chart.current = plot(host.current, frame, points, onLook);
    });
    return () => {
      isGone = true;
      chart.current?.end();
    };
  }, []);
  useEffect(() => chart.current?.show(frame, points), [frame, points]);
  return <div class="latency-chart" ref={host} aria-hidden="true" />;
}

function Table({ frame, steps, name }: { frame: Frame; steps: (Point | undefined)[]; name: string }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`Latency of ${name} as a table`}>
      <table class="plain number">
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">Runs</th>
            <th scope="col">Not successful</th>
            <th scope="col">p50</th>
            <th scope="col">p95</th>
            <th scope="col">p99</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((it, index) =>
            it?.latencyMs ? (
              <tr key={index}>
                <th scope="row">{timeOf(frame, index)}</th>
                <td>{count(it.runs)}</td>
                <td>{count(it.unsuccessful ?? 0)}</td>
                <td>{duration(it.latencyMs.p50)}</td>
                <td>{duration(it.latencyMs.p95)}</td>
                <td>{duration(it.latencyMs.p99)}</td>
              </tr>
            ) : null,
          )}
        </tbody>
      </table>
    </div>
  );
}
