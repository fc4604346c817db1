/** What a run tells: the events of its log as the gateway sends them, and what becomes of the way there. */
import { Problem } from "../lib/api";

export interface OutputFile {
  path: string;
  content: string;
  encoding: "utf8" | "base64";
  size: number;
}

export interface Report {
  requestId: string;
  status: string;
  outputTruncated: boolean;
  errorTruncated: boolean;
  executionTime: number;
  cpuTime: number;
  memoryUsed: number;
  exitCode: number | null;
  signal: string | null;
  compile: { status: string; output: string; time: number; cached: boolean } | null;
  files?: OutputFile[];
  timings: { queue: number; compile: number; start: number; run: number; total: number };
  warm: boolean;
  isolation: string;
  language: string;
  version: string;
}

/** A run as the gateway tells it at its beginning. */
export interface Begun {
  id: string;
  /** What opens it: to do everything, or only to look. */
  ticket: string;
  interactive: boolean;
  tty: boolean;
  /** The number of the last event there was. */
  lastSeq: number;
}

/** What a program wrote, or somebody typed who gave a name. */
export interface Written {
  type: "stdout" | "stderr" | "stdin";
  data: string;
  /** Who typed it. */
  by?: string;
  /** Whether it was there before we were. */
  isPast: boolean;
}

/** What a compiler or a front end found, at its place. Lines and columns count from 1; 0 is none that is known. */
export interface Complaint {
  message: string;
  line: number;
  column: number;
  code?: string;
  file?: string;
}

export type Severity = "error" | "warning";

/** What a run has taken so far: time by the clock, and memory at its peak. */
export interface Spent {
  type: "spent";
  seconds: number;
  bytes: number;
}

export type RunEvent =
  | { type: "begun"; run: Begun }
  | { type: "queued" }
  | { type: "stage"; stage: string }
  | { type: "diagnostic"; severity: Severity; complaint: Complaint }
  | Written
  | Spent
  /** Whether the log comes as it is written, or the connection is lost and sought again, and why if somebody said so. */
  | { type: "connection"; isOpen: boolean; reason?: string }
  /** Something that was asked for is not done; the run goes on. */
  | { type: "refused"; code: string; detail: string }
  | { type: "exit"; report: Report }
  | { type: "fault"; problem: Problem }
  /** It was stopped before there could be a report. */
  | { type: "stopped" };

/** Whether it is the last event of a run. */
export const isLast = (event: RunEvent): boolean => event.type === "exit" || event.type === "fault" || event.type === "stopped";

/** What comes on the socket and is no event of the log. */
export type Answer =
  | Spent
  | { type: "accepted" | "full" | "ready"; bytes: number }
  /** `bytes` is what was taken so far, where something is missing before what was typed. */
  | { type: "refused"; code: string; detail: string; bytes: number | undefined };

interface Wire {
  seq?: number;
  t: string;
  stage?: string;
  data?: string;
  b64?: string;
  by?: string;
  bytes?: number;
  executionTime?: number;
  memoryUsed?: number;
  severity?: Severity;
  message?: string;
  line?: number;
  column?: number;
  file?: string;
  code?: string;
  detail?: string;
  report?: Report | null;
  problem?: { status: number; code: string; detail: string; requestId: string };
}

/** A message of the gateway: an event with its number, an answer, or nothing that is known here. Events up to `pastSeq` are past. */
export function parse(text: string, pastSeq: number): { seq: number; event: RunEvent | undefined } | Answer | undefined {
  const wire = JSON.parse(text) as Wire;
  if (wire.seq !== undefined) return { seq: wire.seq, event: eventOf(wire, wire.seq <= pastSeq) };
  const bytes = wire.bytes ?? 0;
  if (wire.t === "accepted") return { type: "accepted", bytes };
  if (wire.t === "stdin_full") return { type: "full", bytes };
  if (wire.t === "stdin_ready") return { type: "ready", bytes };
  if (wire.t === "stats") return { type: "spent", seconds: wire.executionTime ?? 0, bytes: wire.memoryUsed ?? 0 };
  if (wire.t === "error") return { type: "refused", code: wire.code ?? "", detail: wire.detail ?? "", bytes: wire.bytes };
  return undefined;
}

function eventOf(wire: Wire, isPast: boolean): RunEvent | undefined {
  switch (wire.t) {
    case "queued":
      return { type: "queued" };
    case "stage":
      return { type: "stage", stage: wire.stage ?? "" };
    case "diagnostic":
      return { type: "diagnostic", severity: wire.severity ?? "error", complaint: complaintOf(wire) };
    case "stdout":
    case "stderr":
      return { type: wire.t, data: textOf(wire), isPast };
    case "stdin":
      return { type: "stdin", data: textOf(wire), by: wire.by ?? "", isPast };
    case "exit": {
      if (wire.report) return { type: "exit", report: wire.report };
      const { status, code, detail, requestId } = wire.problem ?? { status: 0, code: "broken", detail: "The run ended, and nobody knows how.", requestId: "" };
      return { type: "fault", problem: new Problem(status, code, detail, requestId) };
    }
    default:
      return undefined;
  }
}

function complaintOf({ message = "", line = 0, column = 0, code, file }: Wire): Complaint {
  return { message, line, column, ...(code === undefined ? {} : { code }), ...(file === undefined ? {} : { file }) };
}

/** Bytes that are no text are shown as such; characters are never cut between two events. */
function textOf(wire: Wire): string {
  if (wire.b64 === undefined) return wire.data ?? "";
  return new TextDecoder().decode(Uint8Array.from(atob(wire.b64), (it) => it.charCodeAt(0)));
}
