/**
 * Runs a program and tells what happens. This is all that the page knows of how that is carried: a request
 * whose answer is a stream of events, and that is hung up on to stop the run.
 */
import { Problem, send } from "../lib/api";
import { EventParser } from "../lib/events";

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

export type RunEvent =
  | { type: "stage"; stage: string }
  | { type: "stdout"; data: string }
  | { type: "stderr"; data: string }
  | { type: "exit"; report: Report }
  | { type: "fault"; problem: Problem }
  | { type: "stopped" };

export interface Running {
  /** Ends the run; `stopped` is told. */
  stop(): void;
  /** Writes to the program, where that can be done. */
  input?: (text: string) => void;
}

/** Starts a run. The last event is `exit`, `fault` or `stopped`, and there is exactly one of them. */
export function start(body: Record<string, unknown>, onEvent: (event: RunEvent) => void): Running {
  const hangUp = new AbortController();
  let isOver = false;
  const tell = (event: RunEvent) => {
    if (isOver) return;
    isOver = event.type === "exit" || event.type === "fault" || event.type === "stopped";
    onEvent(event);
  };
  follow(body, hangUp.signal, tell).then(
    () => tell({ type: "fault", problem: new Problem(0, "broken", "The connection broke off during the run, which was stopped.") }),
    (error: unknown) => tell(hangUp.signal.aborted ? { type: "stopped" } : { type: "fault", problem: problemOf(error) }),
  );
  return {
    stop() {
      hangUp.abort();
      tell({ type: "stopped" });
    },
  };
}

async function follow(body: Record<string, unknown>, signal: AbortSignal, tell: (event: RunEvent) => void): Promise<void> {
  const response = await send("/v1/execute", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify(body),
    signal,
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const { data } of parser.push(value)) {
      const event = JSON.parse(data);
      if (event.type === "fault") {
        const { status, code, detail, requestId } = event.problem;
        tell({ type: "fault", problem: new Problem(status, code, detail, requestId) });
      } else tell(event as RunEvent);
    }
  }
}

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, "broken", "The connection broke off during the run, which was stopped.");
}
