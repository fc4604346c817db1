/** Callbacks that were not taken yet, or are given up: whom nobody could tell that a job is over. */
import { useEffect, useMemo } from "preact/hooks";

import { age, plural } from "../lib/format";
import { key } from "../lib/key";
import { poll } from "../lib/poll";
import { DataLink } from "../shell/data";
import { Link } from "../shell/link";
import { useNow } from "../shell/live";
import { capital, Command, Head, Id, useExample, Waiting } from "./parts";
import type { Callback } from "./report";
import { curl } from "./submission";

const PERIOD_MS = 5000;
/** Where to, for example. */
const HOOK = "https://example.com/hook";

export default function CallbacksPage() {
  const polled = useMemo(() => poll<{ callbacks: Callback[] }>(() => "/v1/callbacks", PERIOD_MS), []);
  useEffect(() => polled.stop, [polled]);
  const now = useNow();
  const example = useExample();
  const callbacks = polled.data.value?.callbacks;
  return (
    <div class="jobs">
      <Head title="Callbacks" polled={polled} what="The list of callbacks" />
      {!callbacks || polled.state.value === "refused" ? (
        <Waiting polled={polled} what="The callbacks" />
      ) : callbacks.length === 0 ? (
        <div class="card notice">
          <h2>Every callback was taken</h2>
          <p>
            A job with a <code>callbackUrl</code> is posted there once it is over, signed. One that is not taken is tried nine times in about
            six hours, and stands here meanwhile and when it is given up.
          </p>
          <Command label="A job that calls back" text={curl(location.origin, { ...example, callbackUrl: HOOK }, key.value !== undefined).trim()} />
          <p class="muted">
            The gateway sends them once it has <code>GATEWAY_CALLBACK_SECRET</code>.
          </p>
        </div>
      ) : (
        <ul class="card callbacks" aria-label="Callbacks">
          {callbacks.map((it) => (
            <li key={it.number}>
              <span class={`badge ${it.dueAt ? "badge-warn" : "badge-fail"}`}>{it.dueAt ? "To be tried again" : "Given up"}</span>
              <div class="callback-main">
                <span class="callback-url">{it.url}</span>
                <span class="small muted">
                  {it.reason ? `${capital(it.reason)}. ` : ""}
                  {plural(it.attempt, "try", "tries")}
                  {it.dueAt ? `, next in ${age((Date.parse(it.dueAt) - now) / 1000)}` : ""}
                </span>
              </div>
              <Link href={`/jobs/${it.jobId}`}>
                <Id id={it.jobId} />
              </Link>
            </li>
          ))}
        </ul>
      )}
      <p class="muted small foot">
        Those of your own jobs, the newest first. The same as data: <DataLink href="/v1/callbacks">/v1/callbacks</DataLink>.
      </p>
    </div>
  );
}
