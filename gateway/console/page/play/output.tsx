/** What a run writes, and what came of it. */
import type { Ref } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Problem } from "../lib/api";
import { bytes, duration, words } from "../lib/format";
import { key } from "../lib/key";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import * as desk from "./desk";
import { Log } from "./log";
import { curl, requestOf } from "./program";
import { type OutputFile, type Report, type Running, start } from "./run";

export interface OutputHandle {
  run(): void;
  stop(): void;
}

interface OutputProps {
  onRunning: (isRunning: boolean) => void;
  onLink: (path: string, line: number, column: number) => void;
}

type Outcome = { kind: "report"; report: Report; tookMs: number } | { kind: "problem"; problem: Problem } | { kind: "stopped"; tookMs: number };

export function Output({ handle, onRunning, onLink }: OutputProps & { handle: Ref<OutputHandle> }) {
  const host = useRef<HTMLDivElement>(null);
  const log = useRef<Log | undefined>(undefined);
  const running = useRef<Running | undefined>(undefined);
  const [stage, setStage] = useState<string>();
  const [outcome, setOutcome] = useState<Outcome>();
  const [body, setBody] = useState<Record<string, unknown>>();
  const [hasOutput, setHasOutput] = useState(false);

  useEffect(() => {
    if (!host.current) return;
    log.current = new Log(host.current);
    log.current.onDraw = () => setHasOutput(true);
    return () => running.current?.stop();
  }, []);

  const end = (next: Outcome) => {
    running.current = undefined;
    log.current?.flush();
    log.current?.link(desk.draft.value.files.map((it) => it.path), onLink);
    setStage(undefined);
    setOutcome(next);
    onRunning(false);
    announce(said(next));
  };
  const run = () => {
    const language = desk.language.value;
    if (!language || !log.current) return;
    running.current?.stop();
    const request = requestOf(language, desk.version.value, desk.draft.value, desk.limits.value);
    const began = performance.now();
    log.current.clear();
    setHasOutput(false);
    setOutcome(undefined);
    setBody(request);
    setStage("sent");
    onRunning(true);
    announce("Running");
    running.current = start(request, (event) => {
      if (event.type === "stage") setStage(event.stage);
      else if (event.type === "stdout" || event.type === "stderr") log.current?.write(event.type, event.data);
      else if (event.type === "exit") end({ kind: "report", report: event.report, tookMs: performance.now() - began });
      else if (event.type === "fault") end({ kind: "problem", problem: event.problem });
      else end({ kind: "stopped", tookMs: performance.now() - began });
    });
  };
  const api: OutputHandle = { run, stop: () => running.current?.stop() };
  useEffect(() => {
    if (typeof handle === "object" && handle) handle.current = api;
  });

  return (
    <>
      <Bar stage={stage} outcome={outcome} body={body} onClear={() => (log.current?.clear(), setHasOutput(false), setOutcome(undefined))} />
      <div class="log-frame">
        <div class="log" ref={host} tabIndex={0} role="log" aria-live="off" aria-label="Output of the program" />
        {hasOutput ? null : <Nothing stage={stage} outcome={outcome} />}
      </div>
      {outcome?.kind === "report" ? <Results report={outcome.report} tookMs={outcome.tookMs} /> : null}
    </>
  );
}

function Nothing({ stage, outcome }: { stage: string | undefined; outcome: Outcome | undefined }) {
  if (outcome?.kind === "problem") {
    const { problem } = outcome;
    return (
      <div class="log-empty">
        <ul class="fault">
          {problem.lines.map((it) => (
            <li key={it}>{it}</li>
          ))}
        </ul>
        <p class="muted small">
          Nothing was run that counts: this is the fleet&rsquo;s fault or the request&rsquo;s, not your program&rsquo;s.
          {problem.requestId ? ` Request ${problem.requestId}.` : ""}
        </p>
      </div>
    );
  }
  if (outcome) return <p class="log-empty muted">The program wrote nothing.</p>;
  if (stage) return <p class="log-empty muted">{stage === "compile" ? "Compiling…" : "Running…"}</p>;
  return (
    <p class="log-empty muted">
      Output appears here as the program writes it. Press <kbd>Ctrl</kbd> <kbd>Enter</kbd> to run.
    </p>
  );
}

const TONES: Record<string, "pass" | "warn" | "fail"> = { success: "pass", accepted: "pass", cancelled: "warn" };
const TITLES: Record<string, string> = {
  success: "Success",
  runtime_error: "Runtime error",
  compile_error: "Does not compile",
  timeout: "Out of time",
  memory_limit: "Out of memory",
  output_limit: "Too much output",
  cancelled: "Cancelled",
};

const titleOf = (status: string) => TITLES[status] ?? words(status);

/** How a program ended, beside its status. */
function ending(report: Report): string {
  if (report.signal) return report.signal;
  return report.exitCode === null ? "" : `exit code ${report.exitCode}`;
}

function said(outcome: Outcome): string {
  if (outcome.kind === "stopped") return "The run was stopped";
  if (outcome.kind === "problem") return `Not run: ${outcome.problem.message}`;
  const { report } = outcome;
  return [`Run finished: ${titleOf(report.status)}`, ending(report), duration(report.executionTime * 1000)].filter(Boolean).join(", ");
}

interface BarProps {
  stage: string | undefined;
  outcome: Outcome | undefined;
  body: Record<string, unknown> | undefined;
  onClear: () => void;
}

function Bar({ stage, outcome, body, onClear }: BarProps) {
  const [copied, setCopied] = useState("");
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(""), 2500);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    if (!body) return;
    try {
      await navigator.clipboard.writeText(curl(location.origin, body, key.value !== undefined));
      setCopied("Copied");
      announce("The request is copied as curl");
    } catch {
      setCopied("Not allowed here");
    }
  };
  return (
    <div class="bar">
      <h2 class="bar-title">
        <Standing stage={stage} outcome={outcome} />
      </h2>
      <div class="bar-end">
        {body ? (
          <button type="button" class="button quiet small" onClick={copy}>
            <Icon name="copy" />
            {copied || "Copy as curl"}
          </button>
        ) : null}
        {outcome ? (
          <button type="button" class="button quiet small" onClick={onClear}>
            Clear
          </button>
        ) : null}
      </div>
    </div>
  );
}

function Standing({ stage, outcome }: { stage: string | undefined; outcome: Outcome | undefined }) {
  if (stage) {
    return (
      <>
        <span class="spinner" aria-hidden="true" /> {stage === "compile" ? "Compiling" : stage === "run" ? "Running" : "Sent"}
      </>
    );
  }
  if (!outcome) return <>Output</>;
  if (outcome.kind === "stopped") {
    return (
      <>
        <span class="badge badge-warn">Stopped</span> <span class="muted small number">after {duration(outcome.tookMs)}</span>
      </>
    );
  }
  if (outcome.kind === "problem") return <span class="badge badge-fail">Not run</span>;
  const { report } = outcome;
  return (
    <>
      <span class={`badge badge-${TONES[report.status] ?? "fail"}`}>{titleOf(report.status)}</span>{" "}
      <span class="muted small number">{ending(report)}</span>
    </>
  );
}

function Results({ report, tookMs }: { report: Report; tookMs: number }) {
  const { timings, compile } = report;
  const facts: [string, string, string?][] = [
    ["Run", duration(report.executionTime * 1000), "wall clock of the program"],
    ["Processor", duration(report.cpuTime * 1000), "of all its processes"],
    ["Memory", bytes(report.memoryUsed), "at its peak"],
  ];
  if (compile) facts.push(["Compile", compile.cached ? "cached" : duration(compile.time * 1000)]);
  facts.push(["Queue", duration(timings.queue), "waiting for a slot"], ["Start", report.warm ? `warm, ${duration(timings.start)}` : `cold, ${duration(timings.start)}`]);
  facts.push(["Round trip", duration(tookMs), "from the click to the last event"]);
  facts.push(["Isolation", report.isolation], ["Runtime", `${report.language} ${report.version}`]);
  return (
    <div class="results">
      <Timeline report={report} />
      <dl class="result-facts number">
        {facts.map(([name, value, title]) => (
          <div key={name} title={title}>
            <dt class="muted">{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {report.outputTruncated || report.errorTruncated ? (
        <p class="small warn-text">More was written than is kept of a stream; this is its beginning.</p>
      ) : null}
      {report.files && report.files.length > 0 ? <BroughtBack files={report.files} /> : null}
    </div>
  );
}

/** Where the time went, as one bar. */
function Timeline({ report }: { report: Report }) {
  const { queue, compile, start: launch, run } = report.timings;
  const parts = [
    ["queue", queue],
    ["compile", compile],
    ["start", launch],
    ["run", run],
  ] as const;
  const all = parts.reduce((sum, [, ms]) => sum + ms, 0);
  if (all <= 0) return null;
  const told = parts.filter(([, ms]) => ms >= 0.05).map(([name, ms]) => `${name} ${duration(ms)}`);
  return (
    <div class="timeline" role="img" aria-label={`Where the time went: ${told.join(", ")}`}>
      {parts.map(([name, ms]) => (ms / all > 0.002 ? <span key={name} class={`part-${name}`} style={{ flexGrow: ms }} title={`${name} ${duration(ms)}`} /> : null))}
    </div>
  );
}

const PICTURES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
};

function BroughtBack({ files }: { files: OutputFile[] }) {
  return (
    <section aria-label="Files that the program left">
      <h3>Files</h3>
      <ul class="brought">
        {files.map((it) => (
          <Brought key={it.path} file={it} />
        ))}
      </ul>
    </section>
  );
}

function Brought({ file }: { file: OutputFile }) {
  const type = PICTURES[file.path.split(".").pop()?.toLowerCase() ?? ""];
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const data = file.encoding === "base64" ? Uint8Array.from(atob(file.content), (it) => it.charCodeAt(0)) : file.content;
    const made = URL.createObjectURL(new Blob([data], { type: type ?? "application/octet-stream" }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return (
    <li>
      {type && url ? <img src={url} alt={`Picture ${file.path}, which the program left`} /> : null}
      <a class="button small" href={url} download={file.path.split("/").pop()}>
        <Icon name="save" />
        <span class="clip">{file.path}</span>
        <span class="muted number">{bytes(file.size)}</span>
      </a>
    </li>
  );
}
