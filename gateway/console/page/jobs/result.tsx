/** What came of a run: what it wrote, as the playground shows it, and what it took. */
import { useEffect, useRef } from "preact/hooks";

import { bytes, duration } from "../lib/format";
import { ending, titleOf, toneOf } from "../run/standing";
import { Log } from "../run/log";
import { Facts, type Named } from "../run/results";
import type { CaseReport, Result } from "./report";

export function ResultPane({ result }: { result: Result }) {
  const { compile } = result;
  const facts: Named[] = [
    ["Run", duration(result.executionTime * 1000)],
    ["Processor", duration(result.cpuTime * 1000)],
    ["Memory", bytes(result.memoryUsed)],
    ...(compile ? ([["Compile", compile.cached ? "cached" : duration(compile.time * 1000)]] as Named[]) : []),
    ["Start", result.warm ? "warm" : "cold"],
    ["Isolation", result.isolation],
  ];
  return (
    <>
      <div class="bar">
        <h2 class="bar-title">
          Result <span class={`badge badge-${toneOf(result.status)}`}>{titleOf(result.status)}</span>{" "}
          <span class="muted small number">{ending(result)}</span>
        </h2>
      </div>
      <Output result={result} />
      {result.cases && result.cases.length > 0 ? <Cases cases={result.cases} /> : null}
      <div class="pad result-end">
        <Facts facts={facts} report={result} />
      </div>
    </>
  );
}

/** Both streams, one below the other: how they were mixed is not kept. */
export function Output({ result, name = "the program" }: { result: Pick<Result, "output" | "error">; name?: string }) {
  if (!result.output && !result.error) return <p class="muted pad">The program wrote nothing.</p>;
  return (
    <>
      {result.output ? <Text stream="stdout" text={result.output} label={`Output of ${name}`} /> : null}
      {result.error ? <Text stream="stderr" text={result.error} label={`What ${name} wrote to stderr`} /> : null}
    </>
  );
}

function Text({ stream, text, label }: { stream: "stdout" | "stderr"; text: string; label: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!host.current) return;
    const log = new Log(host.current);
    log.clear();
    log.write(stream, text);
    log.flush();
    host.current.scrollTop = 0;
  }, [text]);
  return <div class={`log job-log log-${stream}`} ref={host} tabIndex={0} role="log" aria-live="off" aria-label={label} />;
}

function Cases({ cases }: { cases: CaseReport[] }) {
  return (
    <div class="scroll cases">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Case</th>
            <th scope="col">Status</th>
            <th scope="col">Run</th>
          </tr>
        </thead>
        <tbody>
          {cases.map((it, index) => (
            <tr key={index}>
              <th scope="row">{it.name}</th>
              <td>
                <span class={`badge badge-${toneOf(it.status)}`}>{titleOf(it.status)}</span>
              </td>
              <td class="number">{duration(it.executionTime * 1000)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
