/** What the program of a room is run as, which is the same for all. */
import { Icon } from "../shell/icon";
import { changeLanguage, changeMeta } from "./document";
import { languageOf, languages } from "./languages";
import type { Room } from "./room";
import type { Runs } from "./runs";

export function Toolbar({ room, runs }: { room: Room; runs: Runs }) {
  const meta = room.meta.value;
  const mayEdit = room.mayEdit.value;
  const language = languageOf(meta.language);
  const isGoing = runs.isGoing;
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  const choose = (id: string) => {
    const next = languageOf(id);
    if (next) changeLanguage(room.doc, next, language);
  };
  return (
    <div class="toolbar">
      <div class="field">
        <label for="language">Language</label>
        <select id="language" value={meta.language ?? ""} disabled={!mayEdit} onChange={(it) => choose(it.currentTarget.value)}>
          {language ? null : <option value={meta.language ?? ""}>{meta.language ?? "–"}</option>}
          {languages.value?.map((it) => (
            <option key={it.id} value={it.id}>
              {it.id}
              {it.available ? "" : " (not available)"}
            </option>
          ))}
        </select>
      </div>
      {language && language.versions.length > 1 ? (
        <div class="field">
          <label for="version">Version</label>
          <select
            id="version"
            value={meta.version ?? ""}
            disabled={!mayEdit}
            onChange={(it) => changeMeta(room.doc, { version: it.currentTarget.value || undefined })}
          >
            <option value="">{language.versions[0]} (default)</option>
            {language.versions.slice(1).map((it) => (
              <option key={it}>{it}</option>
            ))}
          </select>
        </div>
      ) : null}
      <div class="field room-args">
        <label for="args">Arguments</label>
        <input
          id="args"
          spellcheck={false}
          autocomplete="off"
          placeholder="as in a shell: --name 'two words'"
          value={meta.args}
          readOnly={!mayEdit}
          onInput={(it) => changeMeta(room.doc, { args: it.currentTarget.value })}
        />
      </div>
      {room.mayRun.value ? (
        <div class="toolbar-end">
          <button
            type="button"
            class={`button run ${isGoing ? "danger" : "primary"}`}
            disabled={!isGoing && !language}
            onClick={() => (isGoing ? runs.stop() : runs.begin())}
            aria-keyshortcuts={isGoing ? "Control+." : "Control+Enter"}
          >
            <Icon name={isGoing ? "stop" : "play"} />
            {isGoing ? "Stop" : "Run"}
            <kbd aria-hidden="true">
              {isMac ? "⌘" : "Ctrl"} {isGoing ? "." : "↵"}
            </kbd>
          </button>
        </div>
      ) : null}
    </div>
  );
}
