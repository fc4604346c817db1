/** What `GET /v1/fleet` says. */
import { clock, moment } from "../lib/format";

export type Health = "pass" | "warn" | "fail";

export interface Beats {
  pass: number;
  warn: number;
  fail: number;
}

export interface Quantiles {
  p50: number;
  p95: number;
  p99: number;
}

export interface Point {
  at: number;
  beats: Beats;
  runs: number;
  unsuccessful?: number;
  latencyMs?: Quantiles;
}

export interface History {
  beats: Beats;
  statuses: { status: string; count: number }[];
  latencyMs: Quantiles | null;
  queueMs: Quantiles | null;
  runMs: Quantiles | null;
  points?: Point[];
}

export interface Guarantee {
  name: string;
  strength: "enforced" | "watched" | "none";
  mechanism: string;
}

export interface Isolation {
  level: string;
  rung: number;
  minimum: string;
  guarantees: Guarantee[];
  raise: string[];
  outer: string[];
  selfTest: { passed: boolean; time: string; attempts: number } | null;
}

export interface Executor {
  name: string;
  label: string;
  status: Health;
  output?: string;
  since: string;
  probeMs: number | null;
  circuit: "closed" | "open" | "half_open";
  slots: number;
  slotsFree: number;
  slotsQuarantined: number;
  waiting: number;
  inFlight: number;
  info: {
    languages: string[];
    runtimes: { version: string; default: boolean }[];
    isolation: Isolation;
    warm: {
      depth: number;
      cells: number;
      waiting: number;
      runtimes: { version: string; start: string; reason?: string }[];
    };
    samplesPassed: number;
    samplesFailed: number;
    notes: string[];
  } | null;
  history: History;
}

export interface Fleet {
  window: string;
  stepSeconds: number;
  from: number;
  gateway: {
    status: Health;
    output?: string;
    version: string;
    startedAt: string;
    draining: boolean;
    workers: number;
    jobs: {
      durability: string;
      well: boolean;
      counts: { scheduled: number; ready: number; leased: number; dead: number; oldestReadyMs: number | null } | null;
    } | null;
  };
  executors: Executor[];
}

/** What steps are of. */
export type Frame = Pick<Fleet, "from" | "stepSeconds" | "window">;

/** A time within the window, as short as the window allows. */
export function timeOf(frame: Frame, index: number): string {
  const time = (frame.from + index * frame.stepSeconds) * 1000;
  return frame.window === "24h" || frame.window === "7d" ? moment(time).replace(/:\d\d$/, "") : clock(time);
}

/** Executors by their names, of which one may begin with another, and then by number. */
export const ordered = <T extends Pick<Executor, "label">>(executors: T[]): T[] =>
  executors.toSorted((a, b) => a.label.localeCompare(b.label, "en", { numeric: true }));

/** The points of a window, those left out as gaps: one a step, oldest first. */
export function filled(fleet: Frame, points: Point[]): (Point | undefined)[] {
  const count = COUNTS[fleet.window] ?? points.length;
  const byTime = new Map(points.map((it) => [it.at, it]));
  return Array.from({ length: count }, (_, index) => byTime.get(fleet.from + index * fleet.stepSeconds));
}

/** The report with the points of the one before, where they were not asked for and still are of its window. */
export function withPoints(fleet: Fleet, before: Fleet | undefined): Fleet {
  if (fleet.executors.every((it) => it.history.points) || before?.window !== fleet.window) return fleet;
  const points = new Map(before.executors.map((it) => [it.label, it.history.points]));
  const executors = fleet.executors.map((it) => {
    const known = it.history.points ?? points.get(it.label);
    return known ? { ...it, history: { ...it.history, points: known } } : it;
  });
  return { ...fleet, executors };
}

/** What is asked for: the points of the history are many, so they come with every fifth answer; until they came, with each. */
export class Asked {
  #window: string;
  /** How often was asked since the window's points came. */
  #since: number | undefined;

  constructor(window: string) {
    this.#window = window;
  }

  path(): string {
    const wantsPoints = this.#since === undefined || this.#since + 1 >= POINTS_EVERY;
    if (this.#since !== undefined) this.#since += 1;
    return `/v1/fleet?window=${this.#window}${wantsPoints ? "&points=true" : ""}`;
  }

  /** Looks that far back from now on; whether that is something else than before. */
  look(window: string): boolean {
    if (window === this.#window) return false;
    this.#window = window;
    this.#since = undefined;
    return true;
  }

  /** Takes note of an answer. */
  take(fleet: Fleet): void {
    if (fleet.window === this.#window && fleet.executors.every((it) => it.history.points)) this.#since = 0;
  }
}

/** What became of executors since the report before, in words. */
export function news(fleet: Fleet, before: Fleet | undefined): string[] {
  const known = new Map(before?.executors.map((it) => [it.label, it.status]));
  return fleet.executors.flatMap((it) => {
    const was = known.get(it.label);
    if (was === undefined || (was === "fail") === (it.status === "fail")) return [];
    return [`${it.label} is ${it.status === "fail" ? "down" : "up"}`];
  });
}

const POINTS_EVERY = 5;
const COUNTS: Record<string, number> = { "10m": 60, "1h": 60, "24h": 96, "7d": 84 };

export const WINDOWS = [
  { id: "10m", name: "10 min", long: "the last 10 minutes" },
  { id: "1h", name: "1 h", long: "the last hour" },
  { id: "24h", name: "24 h", long: "the last 24 hours" },
  { id: "7d", name: "7 d", long: "the last 7 days" },
] as const;

/** How a step of the strip is shown: what was worst in it, but a single miss among many is a warning. */
export function beatOf(beats: Beats): Health | undefined {
  const all = beats.pass + beats.warn + beats.fail;
  if (all === 0) return undefined;
  if (beats.fail * 2 > all) return "fail";
  return beats.fail > 0 || beats.warn > 0 ? "warn" : "pass";
}
