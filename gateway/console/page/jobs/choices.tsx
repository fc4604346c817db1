/** Which jobs are to be shown: states with how many there are, and everything else that is asked for. */
import { useEffect, useRef } from "preact/hooks";

import { count } from "../lib/format";
import { key } from "../lib/key";
import { Link } from "../shell/link";
import { go } from "../shell/router";
import { changed, type Filters, isNarrowed, WITHINS, written } from "./filters";
import { capital } from "./parts";
import { type Listing, type Queue, STATES } from "./report";

/** The states, with how many jobs are in each. */
export function Tabs({ filters, listing }: { filters: Filters; listing: Listing | undefined }) {
  const counts = listing?.counts;
  const all = counts && STATES.reduce((sum, it) => sum + counts[it], 0);
  const host = useRef<HTMLElement>(null);
  useEffect(() => host.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [filters.state]);
  return (
    <nav class="states" aria-label="State" ref={host}>
      <ul>
        {[undefined, ...STATES].map((state) => {
          const number = state ? counts?.[state] : all;
          return (
            <li key={state ?? "all"}>
              <Link href={`/jobs${written(changed(filters, { state }))}`} class={`state-tab ${state === "dead" && number ? "has-dead" : ""}`} current={filters.state === state}>
                {state ? capital(state) : "All"} <span class="number muted">{number === undefined ? "–" : count(number)}</span>
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}

export function Choices({ filters, queue, listing }: { filters: Filters; queue: Queue | undefined; listing: Listing | undefined }) {
  const choose = (changes: Parameters<typeof changed>[1]) => go(`/jobs${written(changed(filters, changes))}`);
  const unique = (names: (string | null | undefined)[]) => [...new Set(names.filter((it) => it))].sort() as string[];
  const languages = unique([...(queue?.languages.map((it) => it.language) ?? []), filters.language]);
  const queues = unique([...(queue?.languages.map((it) => it.queue) ?? []), filters.queue]);
  const named = filters.caller === "*" ? undefined : filters.caller;
  const callers = unique([...(filters.caller ? (listing?.jobs.map((it) => it.caller) ?? []) : []), named]);
  return (
    <div class="choices" data-filters>
      <Choice id="caller" name="Whose" value={filters.caller ?? ""} onChoose={(caller) => choose({ caller })}>
        <option value="">{key.value ? "Those of this key" : "Mine"}</option>
        <option value="*">Everybody’s</option>
        {callers.map((it) => (
          <option key={it} value={it}>
            {it}
          </option>
        ))}
      </Choice>
      <Choice id="language" name="Language" value={filters.language ?? ""} onChoose={(language) => choose({ language })}>
        <option value="">Any</option>
        {languages.map((it) => (
          <option key={it}>{it}</option>
        ))}
      </Choice>
      <Choice id="queue" name="Queue" value={filters.queue ?? ""} onChoose={(name) => choose({ queue: name })}>
        <option value="">Any</option>
        {queues.map((it) => (
          <option key={it}>{it}</option>
        ))}
      </Choice>
      <Choice id="within" name="Submitted" value={filters.within ?? ""} onChoose={(within) => choose({ within })}>
        <option value="">any time</option>
        {WITHINS.map((it) => (
          <option key={it.id} value={it.id}>
            {it.name}
          </option>
        ))}
      </Choice>
      {isNarrowed(filters) || filters.caller ? (
        <Link href={`/jobs${written(changed({}, { state: filters.state }))}`} class="button quiet">
          Clear
        </Link>
      ) : null}
    </div>
  );
}

interface ChoiceProps {
  id: string;
  name: string;
  value: string;
  onChoose: (value: string | undefined) => void;
  children: preact.ComponentChildren;
}

function Choice({ id, name, value, onChoose, children }: ChoiceProps) {
  return (
    <div class="field">
      <label for={id}>{name}</label>
      <select id={id} value={value} onChange={(event) => onChoose(event.currentTarget.value || undefined)}>
        {children}
      </select>
    </div>
  );
}
