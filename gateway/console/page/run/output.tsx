/** What a run writes, and the way to type into it. */
import { effect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Problem } from "../lib/api";
import { announce } from "../shell/announce";
import { InputLine } from "./input";
import { Log } from "./log";
import { said } from "./standing";
import { Terminal } from "./terminal";
import type { Watched } from "./watch";
import type { Size } from "./xterm";

interface OutputProps {
  run: Watched | undefined;
  /** Whether whoever looks may type and send signals as well. */
  canType?: boolean;
  /** Whether it is told who typed. */
  hasAuthors?: boolean;
  /** Whether the next run is to have a terminal, which is shown before there is a run. */
  wantsTerminal?: boolean;
  onSize?: (size: Size) => void;
  /** The files of the program: places in them that it names lead there. */
  paths?: string[];
  onLink?: (path: string, line: number, column: number) => void;
  /** What to show before there is a run. */
  children?: ComponentChildren;
}

export function Output({ run, canType = true, hasAuthors = false, wantsTerminal = false, onSize, paths = [], onLink, children }: OutputProps) {
  const begun = run?.begun.value;
  const outcome = run?.outcome.value;
  const isOver = outcome !== undefined;
  const hasFailed = outcome?.kind === "problem";
  const takesLines = canType && begun?.interactive && !begun.tty && !isOver;
  // What a run will have is as it was wanted, until it is known.
  const hasTerminal = begun ? begun.tty : wantsTerminal;
  const hint = run?.lostFor.value ?? run?.refused.value;
  useAnnounced(run);
  return (
    <>
      {hasTerminal ? (
        <Terminal run={run} canType={canType} onSize={onSize}>
          {children}
        </Terminal>
      ) : (
        <div class="log-frame">
          <LogView run={run} hasAuthors={hasAuthors} paths={paths} onLink={onLink} />
          {run?.hasOutput.value || hasFailed ? null : <Nothing run={run}>{children}</Nothing>}
        </div>
      )}
      {hasFailed ? <Failed problem={outcome.problem} hasBegun={begun !== undefined} /> : null}
      {hint && !isOver ? (
        <p class="refused small" role="status">
          {hint}
        </p>
      ) : null}
      {run && takesLines ? <InputLine running={run.running} /> : null}
    </>
  );
}

function LogView({ run, hasAuthors, paths, onLink }: Pick<OutputProps, "run" | "hasAuthors" | "onLink"> & { paths: string[] }) {
  const host = useRef<HTMLDivElement>(null);
  const isOver = run?.outcome.value !== undefined;
  const log = useRef<Log | undefined>(undefined);
  useEffect(() => (host.current ? keepEnd(host.current) : undefined), []);
  useEffect(() => {
    if (!host.current) return;
    const own = new Log(host.current, () => run && save(run));
    log.current = own;
    const stop = run?.follow((written) => {
      for (const it of written) {
        if (hasAuthors && it.type === "stdin" && it.by) own.write("author", `${it.by}: `);
        own.write(it.type, it.data);
      }
    });
    return () => {
      stop?.();
      own.clear();
    };
  }, [run]);
  useEffect(() => {
    if (!isOver) return;
    log.current?.flush();
    if (onLink) log.current?.link(paths, onLink);
  }, [run, isOver]);
  return <div class="log" ref={host} tabIndex={0} role="log" aria-live="off" aria-label="Output of the program" />;
}

/** The end stays in sight when there is less room, such as beside what came of the run. */
function keepEnd(host: HTMLElement): () => void {
  let isInSight = true;
  let top = 0;
  const look = () => {
    const isAtEnd = host.scrollHeight - host.scrollTop - host.clientHeight < 32;
    // Only who goes up leaves the end: a scroll that is told after the room became less is none of those.
    if (isAtEnd || host.scrollTop < top) isInSight = isAtEnd;
    top = host.scrollTop;
  };
  const sized = new ResizeObserver(() => isInSight && (host.scrollTop = host.scrollHeight));
  host.addEventListener("scroll", look);
  sized.observe(host);
  return () => {
    sized.disconnect();
    host.removeEventListener("scroll", look);
  };
}

/** Saves what a program wrote, as it wrote it. */
function save(run: Watched): void {
  const pieces: string[] = [];
  run.follow((written) => pieces.push(written.map((it) => it.data).join("")))();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(pieces, { type: "text/plain" }));
  link.download = "output.txt";
  link.click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Tells screen readers how a run ends, and what becomes of the way to it. */
function useAnnounced(run: Watched | undefined): void {
  useEffect(() => {
    if (!run) return;
    let wasLost = false;
    return effect(() => {
      const outcome = run.outcome.value;
      const isConnected = run.isConnected.value;
      if (outcome) announce(said(outcome));
      else if (!isConnected) announce("The connection is lost. Reconnecting");
      else if (wasLost) announce("Connected again");
      wasLost = !isConnected;
    });
  }, [run]);
}

function Nothing({ run, children }: { run: Watched | undefined; children: ComponentChildren }) {
  if (!run) return <div class="log-empty muted">{children}</div>;
  if (run.outcome.value) return <p class="log-empty muted">The program wrote nothing.</p>;
  return <p class="log-empty muted">{run.stage.value === "compile" ? "Compiling…" : "Running…"}</p>;
}

/** Why there is no report. */
function Failed({ problem, hasBegun }: { problem: Problem; hasBegun: boolean }) {
  return (
    <div class="failed">
      <ul class="fault">
        {problem.lines.map((it) => (
          <li key={it}>{it}</li>
        ))}
      </ul>
      <p class="muted small">
        {hasBegun ? "How the program ended is not known: this" : "Nothing was run that counts: this"} is the fleet&rsquo;s fault or the
        request&rsquo;s, not your program&rsquo;s.
        {problem.requestId ? ` Request ${problem.requestId}.` : ""}
      </p>
    </div>
  );
}
