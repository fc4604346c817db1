/** What came of a run: where its time went, what it took, and what it left. */
import { useEffect, useState } from "preact/hooks";

import { bytes, duration } from "../lib/format";
import { Icon } from "../shell/icon";
import type { OutputFile, Report } from "./run";

/** `tookMs` is what whoever began it waited; others did not. */
export function Results({ report, tookMs }: { report: Report; tookMs?: number | undefined }) {
  const { timings, compile } = report;
  const hasRun = report.status !== "compile_error";
  const facts: Named[] = [];
  if (hasRun) {
    facts.push(["Run", duration(report.executionTime * 1000), "wall clock of the program"]);
    facts.push(["Processor", duration(report.cpuTime * 1000), "of all its processes"]);
    facts.push(["Memory", bytes(report.memoryUsed), "at its peak"]);
  }
  if (compile) facts.push(["Compile", compile.cached ? "cached" : duration(compile.time * 1000)]);
  facts.push(["Queue", duration(timings.queue), "waiting for a slot"]);
  if (hasRun) facts.push(["Start", `${report.warm ? "warm" : "cold"}, ${duration(timings.start)}`]);
  if (tookMs !== undefined) facts.push(["Round trip", duration(tookMs), "from the click to the last event"]);
  facts.push(["Isolation", report.isolation], ["Runtime", `${report.language} ${report.version}`]);
  return (
    <div class="results">
      <Timeline report={report} />
      <Facts facts={facts} report={report} />
    </div>
  );
}

export type Named = [name: string, value: string, title?: string];

/** What is told of a run in few words, what is missing of its output, and the files that it left. */
export function Facts({ facts, report }: { facts: Named[]; report: Pick<Report, "outputTruncated" | "errorTruncated" | "files"> }) {
  return (
    <>
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
    </>
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
