/** The chart of latency on a canvas: the median as a line, up to the 95th as an area, and how many runs there were. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { clock, duration, moment } from "../lib/format";
import { filled, type Frame, type Point } from "./report";

export interface Plot {
  show(frame: Frame, points: Point[]): void;
  end(): void;
}

/** What of the height the bars of runs take. */
const BARS_PART = 0.25;
const AXIS_FONT_PX = 12;

/** Draws below `host`; `onLook` is told which step is pointed at. */
export function plot(host: HTMLElement, frame: Frame, points: Point[], onLook: (index: number | undefined) => void): Plot {
  const inks = new Inks(host);
  let [low, top] = [1, 10];
  let shown = frame;
  const font = `${AXIS_FONT_PX}px ${getComputedStyle(host).fontFamily}`;
  const axis = { stroke: () => inks.of("--muted"), font, grid: { stroke: () => inks.of("--line"), width: 1 } };
  const chart = new uPlot(
    {
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        // Times differ by powers of ten, so that is what the scale counts in.
        ms: { distr: 3, range: () => [low, top] },
        runs: { range: (_, __, most) => [0, Math.max(most, 1) / BARS_PART] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          ticks: { show: false },
          size: 22,
          space: 80,
          values: (_, times) => times.map((it) => shortTime(it * 1000, shown)),
        },
        {
          ...axis,
          scale: "ms",
          size: 56,
          ticks: { show: false },
          splits: () => decades(low, top),
          values: (_, values) => values.map((it) => duration(it)),
        },
      ],
      series: [
        {},
        { scale: "runs", fill: () => inks.of("--none-fill"), points: { show: false }, paths: uPlot.paths.bars!({ size: [0.8] }) },
        { scale: "ms", points: { show: false } },
        {
          scale: "ms",
          stroke: () => inks.of("--accent"),
          width: 2,
          // A line needs two ends.
          points: { show: true, size: 5, filter: (it, series) => lone(it.data[series] ?? []) },
        },
      ],
      bands: [{ series: [2, 3], fill: () => inks.of("--accent-area") }],
      hooks: { setCursor: [(it) => onLook(it.cursor.idx ?? undefined)] },
    },
    [[], [], [], []],
    host,
  );
  const show = (frame: Frame, points: Point[]) => {
    const steps = filled(frame, points);
    const scale = decadesOf(points.flatMap((it) => (it.latencyMs ? [it.latencyMs.p50, it.latencyMs.p95] : [])));
    [low, top] = [scale[0] ?? 1, scale.at(-1) ?? 10];
    shown = frame;
    chart.setData([
      steps.map((_, index) => frame.from + index * frame.stepSeconds),
      steps.map((it) => it?.runs || null),
      steps.map((it) => it?.latencyMs?.p95 ?? null),
      steps.map((it) => it?.latencyMs?.p50 ?? null),
    ]);
  };
  show(frame, points);
  const sized = new ResizeObserver(() => chart.setSize({ width: host.clientWidth, height: host.clientHeight }));
  sized.observe(host);
  const stop = inks.watch(() => chart.redraw(false));
  return {
    show,
    end() {
      sized.disconnect();
      stop();
      chart.destroy();
    },
  };
}

/** The colours of the page as a canvas takes them. */
class Inks {
  readonly #host: HTMLElement;
  readonly #known = new Map<string, string>();

  constructor(host: HTMLElement) {
    this.#host = host;
  }

  of(name: string): string {
    let ink = this.#known.get(name);
    if (ink === undefined) {
      // What a property depends on is worked out only where it is a colour, and at once only of what is new.
      const probe = document.createElement("span");
      probe.style.color = `var(${name})`;
      this.#host.append(probe);
      ink = getComputedStyle(probe).color;
      probe.remove();
      this.#known.set(name, ink);
    }
    return ink;
  }

  /** Says when they are others. */
  watch(onChange: () => void): () => void {
    const change = () => {
      this.#known.clear();
      onChange();
    };
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", change);
    const chosen = new MutationObserver(change);
    chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      system.removeEventListener("change", change);
      chosen.disconnect();
    };
  }
}

/** Which values have none before and behind them. */
function lone(values: ArrayLike<number | null | undefined>): number[] {
  const has = (index: number) => values[index] != null;
  const all = Array.from({ length: values.length }, (_, index) => index);
  return all.filter((it) => has(it) && !has(it - 1) && !has(it + 1));
}

function shortTime(time: number, frame: Frame): string {
  const isLong = frame.window === "24h" || frame.window === "7d";
  return isLong ? moment(time).replace(/:\d\d$/, "") : clock(time).replace(/:\d\d$/, "");
}

/** The powers of ten from one to another. */
function decades(low: number, top: number): number[] {
  return Array.from({ length: Math.round(Math.log10(top / low)) + 1 }, (_, index) => low * 10 ** index);
}

/** The powers of ten that some times lie between, at least two of them. */
export function decadesOf(times: number[]): number[] {
  const known = times.filter((it) => it > 0);
  if (known.length === 0) return [1, 10];
  const from = Math.floor(Math.log10(Math.min(...known)));
  const to = Math.max(Math.ceil(Math.log10(Math.max(...known))), from + 1);
  return decades(10 ** from, 10 ** to);
}
