/** The strip of heartbeats: a rectangle for each step of the window. */
import { duration, percent, plural } from "../lib/format";
import { beatOf, type Frame, filled, type Point, timeOf } from "./report";

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
