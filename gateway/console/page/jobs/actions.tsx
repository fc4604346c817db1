/** What can be done with a job. */
import { useState } from "preact/hooks";

import { post } from "../lib/api";
import { key } from "../lib/key";
import { linkTo } from "../play/share";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { go, note } from "../shell/router";
import { attempt, cancel, copy, redrive, told } from "./acts";
import { isFinal, type Shown } from "./report";
import { again, curl, shared, type Submission } from "./submission";

interface ActionsProps {
  job: Shown;
  submission: Submission | undefined;
  entry: string;
  follow: () => void;
}

export function Actions({ job, submission, entry, follow }: ActionsProps) {
  const [isSending, setSending] = useState(false);
  const runAgain = async () => {
    if (!submission) return;
    setSending(true);
    const made = await attempt("It was not run again", () => post<Shown>("/v1/jobs", again(submission, job)));
    setSending(false);
    if (!made) return;
    announce("It runs again");
    if (job.result) note({ again: made.id });
    else go(`/jobs/${made.id}`);
  };
  const play = async () => {
    const program = submission && shared(submission, job.language, entry);
    if (!program) {
      told.value = { isFault: true, text: "The playground takes programs of text files only, and this one has others." };
      return;
    }
    const link = await attempt("It was not opened", () => linkTo(program));
    if (link) go(link.href);
  };
  return (
    <div class="actions">
      {isFinal(job) ? null : (
        <button type="button" class="button danger" disabled={job.cancelRequested} onClick={() => void cancel(job)}>
          <Icon name="stop" />
          Cancel
        </button>
      )}
      {job.state === "dead" ? (
        <button type="button" class="button primary" onClick={async () => (await redrive(job)) && follow()}>
          <Icon name="again" />
          Redrive
        </button>
      ) : null}
      {isFinal(job) ? (
        <button type="button" class={`button ${job.state === "dead" ? "" : "primary"}`} disabled={!submission || isSending} onClick={runAgain}>
          <Icon name="again" />
          Run it again exactly
        </button>
      ) : null}
      <button type="button" class="button" disabled={!submission} onClick={play}>
        <Icon name="play" />
        Open in playground
      </button>
      <button
        type="button"
        class="button"
        disabled={!submission}
        onClick={() => submission && void copy(curl(location.origin, again(submission, job), key.value !== undefined), "The request is")}
      >
        <Icon name="copy" />
        Copy as curl
      </button>
    </div>
  );
}
