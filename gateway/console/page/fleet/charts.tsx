/** The strip of heartbeats and the chart of latency, drawn by hand: a few rectangles and lines. */
import { useState } from "preact/hooks";

import { clock, count, duration, moment, percent, plural } from "../lib/format";
import { beatOf, type Fleet, filled, type Point } from "./report";

type Frame = Pick<Fleet, "from" | "stepSeconds" | "window">;

/** A time within the window, as short as the window allows. */
function timeOf(frame: Frame, index: number): string {
  const time = (frame.from + index * frame.stepSeconds) * 1000;
  return frame.window === "24h" || frame.window === "7d" ? moment(time).replace(/:\d\d$/, "") : clock(time);
}

export function Strip({ frame, points, name }: { frame: Frame; points: Point[]; name: string }) {
  const steps = filled(frame, points);
  const known = steps.filter((it) => it !== undefined);
  const failed = known.filter((it) => beatOf(it.beats) === "fail").length;
  const label = `${name}: ${known.length === 0 ? "nothing is known yet" : `down in ${failed} of ${plural(known.length, "step")}`}`;
  return (
    <svg class="strip" viewBox={`0 0 ${steps.length * 5 - 2} 24`} preserveAspectRatio="none" role="img" aria-label={label}>
      {steps.map((point, index) => {
        const beat = point && beatOf(point.beats);
        return (
          <rect key={index} class={`beat beat-${beat ?? "none"}`} x={index * 5} y={0} width={3} height={24} rx={1}>
            <title>{point ? tip(frame, index, point) : `${timeOf(frame, index)}: not seen`}</title>
          </rect>
        );
      })}
    </svg>
  );
}

function tip(frame: Frame, index: number, point: Point): string {
  const { pass, warn, fail } = point.beats;
  const all = pass + warn + fail;
  const lines = [`${timeOf(frame, index)}: up ${percent(pass + warn, all)}`];
  if (point.runs > 0) lines.push(plural(point.runs, "run"));
  if (point.latencyMs) lines.push(`p95 ${duration(point.latencyMs.p95)}`);
  return lines.join(", ");
}

const WIDTH = 600;
const HEIGHT = 120;

/** Latency over time: the median as a line, up to the 95th as an area, and how many runs there were. */
export function Latency({ frame, points, name }: { frame: Frame; points: Point[]; name: string }) {
  const [at, setAt] = useState<number>();
  const [asTable, setAsTable] = useState(false);
  const steps = filled(frame, points);
  const seen = points.filter((it) => it.latencyMs);
  if (seen.length === 0) return <p class="muted small">No program ran in this time.</p>;
  const decades = decadesOf(seen.flatMap((it) => (it.latencyMs ? [it.latencyMs.p50, it.latencyMs.p95] : [])));
  const low = decades[0] ?? 1;
  const top = decades.at(-1) ?? 1;
  const most = Math.max(...points.map((it) => it.runs), 1);
  const x = (index: number) => ((index + 0.5) / steps.length) * WIDTH;
  // Times differ by powers of ten, so that is what the scale counts in.
  const y = (ms: number) => HEIGHT - (Math.log(Math.max(ms, low) / low) / Math.log(top / low)) * (HEIGHT - 8);
  const parts = segments(steps);
  const point = at === undefined ? undefined : steps[at];
  const look = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * steps.length);
    setAt(Math.min(steps.length - 1, Math.max(0, index)));
  };
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
      <div class="latency-plot">
        {decades.map((it) => (
          <span key={it} class="latency-scale number" aria-hidden="true" style={{ top: `${(y(it) / HEIGHT) * 100}%` }}>
            {duration(it)}
          </span>
        ))}
        <svg
          class="latency-chart"
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          aria-hidden="true"
          onPointerMove={look}
          onPointerLeave={() => setAt(undefined)}
        >
          {decades.map((it) => (
            <line key={it} class="grid" x1={0} x2={WIDTH} y1={y(it)} y2={y(it)} />
          ))}
          {steps.map((it, index) =>
            it && it.runs > 0 ? (
              <rect
                key={index}
                class="bar"
                x={x(index) - WIDTH / steps.length / 2 + 1}
                width={WIDTH / steps.length - 2}
                y={HEIGHT - (it.runs / most) * 28}
                height={(it.runs / most) * 28}
              />
            ) : null,
          )}
          {parts.map((part) => (
            <g key={part[0]}>
              <path class="area" d={area(part, steps, x, y)} />
              <path class="line" d={line(part, steps, x, y)} vector-effect="non-scaling-stroke" />
              {part.length === 1 && part[0] !== undefined ? (
                <path class="line" d={`M${x(part[0]) - 3} ${y(steps[part[0]]?.latencyMs?.p50 ?? 0)}h6`} vector-effect="non-scaling-stroke" />
              ) : null}
            </g>
          ))}
          {at === undefined ? null : <line class="cross" x1={x(at)} x2={x(at)} y1={0} y2={HEIGHT} vector-effect="non-scaling-stroke" />}
        </svg>
      </div>
      {asTable ? <Table frame={frame} steps={steps} name={name} /> : null}
    </figure>
  );
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

/** Runs of steps that follow each other and have a latency, so that a gap stays one. */
function segments(steps: (Point | undefined)[]): number[][] {
  const parts: number[][] = [];
  for (const [index, it] of steps.entries()) {
    if (!it?.latencyMs) continue;
    const last = parts.at(-1);
    if (last && last.at(-1) === index - 1) last.push(index);
    else parts.push([index]);
  }
  return parts;
}

type Scale = (value: number) => number;

function line(part: number[], steps: (Point | undefined)[], x: Scale, y: Scale): string {
  return part.map((index, order) => `${order === 0 ? "M" : "L"}${x(index)} ${y(steps[index]?.latencyMs?.p50 ?? 0)}`).join("");
}

function area(part: number[], steps: (Point | undefined)[], x: Scale, y: Scale): string {
  const upper = part.map((index) => `${x(index)} ${y(steps[index]?.latencyMs?.p95 ?? 0)}`);
  const lower = [...part].reverse().map((index) => `${x(index)} ${y(steps[index]?.latencyMs?.p50 ?? 0)}`);
  return `M${[...upper, ...lower].join("L")}Z`;
}

/** The powers of ten that some times lie between, at least two of them. */
export function decadesOf(times: number[]): number[] {
  const known = times.filter((it) => it > 0);
  if (known.length === 0) return [1, 10];
  const from = Math.floor(Math.log10(Math.min(...known)));
  const to = Math.max(Math.ceil(Math.log10(Math.max(...known))), from + 1);
  return Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index));
}
