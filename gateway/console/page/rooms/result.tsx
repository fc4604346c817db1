/** What the room's program writes, as everybody sees it, and the runs before it. */
import { clock } from "../lib/format";
import { Output } from "../run/output";
import { Results } from "../run/results";
import { Standing } from "../run/standing";
import { Menu } from "../shell/menu";
import type { RunNote } from "./document";
import type { Room } from "./room";
import type { Runs } from "./runs";

interface ResultProps {
  room: Room;
  runs: Runs;
  onLink: (path: string, line: number, column: number) => void;
}

const whoAndWhen = (note: RunNote): string => [note.author || "Somebody", note.at && clock(Date.parse(note.at))].filter(Boolean).join(", ");

export function Result({ room, runs, onLink }: ResultProps) {
  const { id, run, fault, isOwn } = runs.shown.value;
  const notes = room.runs.value;
  const note = notes.find((it) => it.id === id);
  const outcome = run?.outcome.value;
  const items = notes.map((it, index) => ({
    title: whoAndWhen(it),
    about: [index === 0 ? "last" : "", it.id === id ? "shown" : ""].filter(Boolean).join(", "),
    choose: () => void runs.look(it.id),
  }));
  return (
    <>
      <div class="bar">
        <h2 class="bar-title">
          <Standing run={run} />
          {note ? <span class="muted small number clip">{whoAndWhen(note)}</span> : null}
        </h2>
        <div class="bar-end">{items.length > 0 ? <Menu title="Runs" items={items} /> : null}</div>
      </div>
      <Output run={run} canType={room.mayRun.value} hasAuthors paths={room.files.value.map((it) => it.path)} onLink={onLink}>
        {fault ? (
          <p>{fault}</p>
        ) : id ? (
          <p>Looking for its output…</p>
        ) : (
          <p>
            Output appears here for everybody. {room.mayRun.value ? "Press " : ""}
            {room.mayRun.value ? (
              <>
                <kbd>Ctrl</kbd> <kbd>Enter</kbd> to run.
              </>
            ) : null}
          </p>
        )}
      </Output>
      {outcome?.kind === "report" ? <Results report={outcome.report} tookMs={isOwn ? outcome.tookMs : undefined} /> : null}
    </>
  );
}
