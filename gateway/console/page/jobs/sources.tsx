/** What a job runs: its files, its input, and everything else that was asked for. */
import { useState } from "preact/hooks";

import { Icon } from "../shell/icon";
import { copy } from "./acts";
import { Fact } from "./parts";
import { type Source, sourcesOf, type Submission, wishesOf } from "./submission";

/** Lines that are numbered: beyond them a text is shown as it is, and fast. */
const LINES_MAX = 2000;

export function Sources({ submission, entry }: { submission: Submission; entry: string }) {
  const sources = sourcesOf(submission, entry);
  const [index, setIndex] = useState(0);
  const source = sources[index] ?? sources[0];
  const wishes = wishesOf(submission);
  return (
    <section class="card" aria-labelledby="submission-title">
      <div class="bar">
        <h2 id="submission-title" class="bar-title">
          Submission
        </h2>
        {source && !source.isBinary ? (
          <button type="button" class="button quiet small bar-end" onClick={() => void copy(source.content, `${source.path} is`)}>
            <Icon name="copy" />
            Copy
          </button>
        ) : null}
      </div>
      {sources.length > 1 ? (
        <div class="source-files">
          <label for="source-file">File</label>
          <select id="source-file" value={index} onChange={(event) => setIndex(Number(event.currentTarget.value))}>
            {sources.map((it, at) => (
              <option key={it.path} value={at}>
                {it.path}
              </option>
            ))}
          </select>
        </div>
      ) : null}
      {source ? <Code source={source} /> : null}
      {submission.inputData ? (
        <div class="pad">
          <h3>Standard input</h3>
          <pre class="text-block" tabIndex={0} aria-label="Standard input">
            {submission.inputData}
          </pre>
        </div>
      ) : null}
      {wishes.length > 0 ? (
        <dl class="facts pad">
          {wishes.map(([name, value]) => (
            <Fact key={name} name={name}>
              {value}
            </Fact>
          ))}
        </dl>
      ) : null}
    </section>
  );
}

function Code({ source }: { source: Source }) {
  if (source.isBinary) return <p class="pad muted">{source.path} is no text.</p>;
  const lines = source.content.replace(/\n$/, "").split("\n");
  return (
    <div class="code-block" tabIndex={0} role="region" aria-label={`Source of ${source.path}`}>
      {lines.length > LINES_MAX ? null : (
        <pre class="code-numbers" aria-hidden="true">
          {lines.map((_, at) => at + 1).join("\n")}
        </pre>
      )}
      <pre class="code-text">{lines.join("\n")}</pre>
    </div>
  );
}
