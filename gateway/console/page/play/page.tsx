/** A place to write a program in any language of the fleet, and run it. */
import { useEffect, useRef, useState } from "preact/hooks";

import { post, Problem } from "../lib/api";
import { key } from "../lib/key";
import type { Complaint } from "../run/event";
import type { Complaints } from "../run/watch";
import { announce } from "../shell/announce";
import { Icon } from "../shell/icon";
import { Link } from "../shell/link";
import * as desk from "./desk";
import { type Editor, open } from "./editor";
import { Files } from "./files";
import { Inputs } from "./inputs";
import { checkOf, draftOf, draftOfExample } from "./program";
import { complaints, type OutputHandle, Result } from "./output";
import { kept, linkTo, type Shared, TooLarge, unpack } from "./share";

/** How often languages that cannot be run are looked for again. */
const LOOK_AGAIN_MS = 3000;
/** Who stops typing for so long is told what is wrong. */
const CHECK_AFTER_MS = 900;

export default function PlayPage() {
  useEffect(() => {
    const gone = new AbortController();
    void desk.load(gone.signal);
    return () => gone.abort();
  }, [key.value]);
  // What cannot be run now may be run soon.
  const isWaiting = desk.languages.value !== undefined && !desk.language.value?.available;
  useEffect(() => {
    if (!isWaiting) return;
    const gone = new AbortController();
    const timer = setInterval(() => !document.hidden && void desk.load(gone.signal), LOOK_AGAIN_MS);
    return () => {
      clearInterval(timer);
      gone.abort();
    };
  }, [isWaiting]);
  if (!desk.languages.value) return <Waiting />;
  if (!desk.language.value) {
    return (
      <div class="empty">
        <h1>Playground</h1>
        <p>No executor has said what it runs yet. Its languages appear here as soon as one does.</p>
        <p>
          <Link href="/">Look at the fleet</Link>
        </p>
      </div>
    );
  }
  return <Desk />;
}

function Waiting() {
  const problem = desk.trouble.value;
  return (
    <>
      <h1 class="visually-hidden">Playground</h1>
      {problem && problem.status !== 401 ? (
        <div class="card notice" role="alert">
          <h2>The languages cannot be read</h2>
          <p>{problem.message}</p>
          <button type="button" class="button" onClick={() => void desk.load(new AbortController().signal)}>
            Try again
          </button>
        </div>
      ) : (
        <div class="loading" aria-hidden="true" />
      )}
    </>
  );
}

function Desk() {
  const output = useRef<OutputHandle>(null);
  const editor = useRef<Editor | undefined>(undefined);
  const [isRunning, setRunning] = useState(false);
  const toggle = () => (isRunning ? output.current?.stop() : output.current?.run());
  const goTo = (path: string, line: number, column: number) => {
    const index = desk.draft.value.files.findIndex((it) => it.path === path);
    if (index < 0) return;
    desk.showFile(index);
    // The editor shows the file once the page has been drawn.
    setTimeout(() => editor.current?.goTo(line, column));
  };
  useShared();
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.isComposing) return;
      if (event.key === "Enter") output.current?.run();
      else if (event.key === ".") output.current?.stop();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return (
    <div class="play">
      <h1 class="visually-hidden">Playground</h1>
      <Toolbar isRunning={isRunning} onToggle={toggle} />
      <Notices />
      <div class="panes">
        <section class="pane" aria-label="Program">
          <Files editor={editor} />
          <Source editor={editor} />
          <Inputs />
        </section>
        <section class="pane" aria-label="Result">
          <Result handle={output} onRunning={setRunning} onLink={goTo} />
        </section>
      </div>
    </div>
  );
}

/** A program that the address holds or names is put on the desk, and the address is as short as before. */
function useShared() {
  useEffect(() => {
    const take = async () => {
      const id = new URLSearchParams(location.search).get("snippet");
      const hash = location.hash.startsWith("#program=") ? location.hash : "";
      if (!hash && !id) return;
      history.replaceState(null, "", location.pathname);
      try {
        place(hash ? await unpack(hash) : id ? await kept(id) : undefined);
      } catch (error) {
        const isGone = error instanceof Problem && error.status === 404;
        desk.told.value = isGone ? "The program of this link is kept no longer." : `The program of this link could not be had. ${messageOf(error)}`;
      }
    };
    void take();
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);
}

function place(shared: Shared | undefined): void {
  desk.told.value = undefined;
  if (!shared) {
    desk.told.value = "The link holds no program that can be read.";
    return;
  }
  const { language, ...draft } = shared;
  if (desk.languages.value?.some((it) => it.id === language)) {
    desk.put("the shared program", draft, language);
    announce("The shared program is in the editor");
  } else desk.told.value = `The shared program is in ${language}, which this fleet does not run.`;
}

const messageOf = (error: unknown): string => (error instanceof Problem ? error.message : "");

function Toolbar({ isRunning, onToggle }: { isRunning: boolean; onToggle: () => void }) {
  const language = desk.language.value;
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  if (!language) return null;
  const example = (event: Event) => {
    const select = event.currentTarget as HTMLSelectElement;
    const found = language.examples[Number(select.value)];
    if (select.value === "first") desk.put("an example", draftOf(language));
    else if (found) desk.put("an example", draftOfExample(found));
    select.value = "";
  };
  return (
    <div class="toolbar">
      <div class="field">
        <label for="language">Language</label>
        <select id="language" value={language.id} onChange={(it) => desk.chooseLanguage(it.currentTarget.value)}>
          {desk.languages.value?.map((it) => (
            <option key={it.id} value={it.id}>
              {it.id}
              {it.available ? "" : " (not available)"}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="version">Version</label>
        {language.versions.length > 1 ? (
          <select
            id="version"
            value={desk.version.value ?? ""}
            onChange={(it) => desk.chooseVersion(it.currentTarget.value || undefined)}
          >
            <option value="">{language.versions[0]} (default)</option>
            {language.versions.slice(1).map((it) => (
              <option key={it}>{it}</option>
            ))}
          </select>
        ) : (
          <output id="version" class="version number">
            {language.versions[0] ?? "–"}
          </output>
        )}
      </div>
      <div class="field">
        <label for="example">Examples</label>
        <select id="example" value="" onChange={example}>
          <option value="" disabled>
            Load one…
          </option>
          <option value="first">A first program</option>
          {language.examples.map((it, index) => (
            <option key={it.name} value={index}>
              {it.name.charAt(0).toUpperCase() + it.name.slice(1)}
            </option>
          ))}
        </select>
      </div>
      <div class="toolbar-end">
        <Share />
        <button
          type="button"
          class={`button run ${isRunning ? "danger" : "primary"}`}
          onClick={onToggle}
          aria-keyshortcuts={isRunning ? "Control+." : "Control+Enter"}
        >
          <Icon name={isRunning ? "stop" : "play"} />
          {isRunning ? "Stop" : "Run"}
          <kbd aria-hidden="true">{isMac ? "⌘" : "Ctrl"} {isRunning ? "." : "↵"}</kbd>
        </button>
      </div>
    </div>
  );
}

function Share() {
  const [told, setTold] = useState<{ text: string; href?: string }>();
  const share = async () => {
    const shared = desk.sharedNow();
    if (!shared) return;
    try {
      const { href: path, isStored } = await linkTo(shared);
      const href = location.origin + path;
      const what = isStored ? "The gateway keeps the program for whoever has it." : "It holds the whole program, and nothing is stored.";
      try {
        await navigator.clipboard.writeText(href);
        setTold({ text: `The link is copied. ${what}`, href });
      } catch {
        setTold({ text: `Copy this link. ${what}`, href });
      }
    } catch (error) {
      setTold({ text: error instanceof TooLarge ? `Too long to share. ${error.message}` : `There is no link. ${messageOf(error)}` });
    }
  };
  return (
    <div class="share">
      <button type="button" class="button" onClick={share}>
        <Icon name="link" />
        Share
      </button>
      {told ? (
        <div class="card popover" role="status">
          <p class={told.href ? "" : "fault"}>{told.text}</p>
          {told.href ? (
            <input readOnly value={told.href} aria-label="Link to the program" onFocus={(it) => it.currentTarget.select()} />
          ) : null}
          <button type="button" class="button small" onClick={() => setTold(undefined)}>
            Close
          </button>
        </div>
      ) : null}
    </div>
  );
}

function Notices() {
  const old = desk.before.value;
  const language = desk.language.value;
  return (
    <>
      {old ? (
        <p class="notice-line" role="status">
          <span>
            Your {language?.id} program made room for {old.what}.
          </span>
          <button type="button" class="button small" onClick={desk.takeBack}>
            Put mine back
          </button>
          <button type="button" class="icon-button" aria-label="Close this notice" onClick={desk.leaveBe}>
            <Icon name="close" />
          </button>
        </p>
      ) : null}
      {desk.told.value ? (
        <p class="notice-line warn" role="status">
          <span>{desk.told.value}</span>
          <button type="button" class="icon-button" aria-label="Close this notice" onClick={() => (desk.told.value = undefined)}>
            <Icon name="close" />
          </button>
        </p>
      ) : null}
      {language && !language.available ? (
        <p class="notice-line warn" role="status">
          No executor that runs {language.id} can be reached now. Your program is kept, and may be run once one is back.
        </p>
      ) : null}
      {desk.isLost.value ? (
        <p class="notice-line warn" role="status">
          This browser has no room for what you write, so it is gone when you leave. Share it to keep it.
        </p>
      ) : null}
    </>
  );
}

function Source({ editor }: { editor: { current: Editor | undefined } }) {
  const host = useRef<HTMLDivElement>(null);
  const { files } = desk.draft.value;
  const index = desk.fileIndex.value;
  const file = files[index];
  const language = desk.language.value;
  const placed = desk.placed.value;
  const [checked, setChecked] = useState<Complaints>();
  // Whoever looks at programs while they are written finds more than who only runs them.
  const found = checked ?? complaints.value;

  useEffect(() => {
    if (!host.current) return;
    editor.current = open(host.current, (text) => desk.changeFile(desk.fileIndex.value, { content: text }));
    return () => {
      editor.current?.close();
      editor.current = undefined;
    };
  }, []);

  useEffect(() => editor.current?.forget(), [placed]);
  useEffect(() => {
    if (file && language) editor.current?.show(`${language.id}/${file.path}`, `Source of ${file.path}`, file.content, language.syntax);
    // What is typed comes from the editor itself.
  }, [placed, file?.path, index, language?.id]);

  // The program is looked at a while after the last change, and what is found is dropped at the next one.
  const isChecking = desk.isChecking.value && language?.available && language.features.includes("validate");
  const sources = JSON.stringify(files);
  useEffect(() => {
    setChecked(undefined);
    if (!isChecking || !language || sources.length > 40_000) return;
    const gone = new AbortController();
    const timer = setTimeout(() => {
      const body = checkOf(language, desk.version.value, desk.draft.value);
      post<Complaints>("/v1/validate", body, gone.signal).then(setChecked, () => undefined);
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [sources, language?.id, desk.version.value, isChecking]);

  useEffect(() => {
    const here = (it: Complaint) => it.line > 0 && (it.file === undefined || it.file === file?.path || (files.length === 1 && index === 0));
    editor.current?.complain(found?.errors.filter(here) ?? [], found?.warnings.filter(here) ?? []);
  }, [found, file?.path]);

  const errors = found?.errors.length ?? 0;
  const warnings = found?.warnings.length ?? 0;
  return (
    <>
      <div class="source" ref={host} />
      <p class="source-foot small muted">
        <span id="editor-hint">
          <kbd>Esc</kbd> then <kbd>Tab</kbd> leaves the editor
        </span>
        {found ? (
          <span class={errors > 0 ? "fault" : ""}>
            {errors + warnings === 0
              ? "No complaints"
              : [errors > 0 ? `${errors} ${errors === 1 ? "error" : "errors"}` : "", warnings > 0 ? `${warnings} ${warnings === 1 ? "warning" : "warnings"}` : ""]
                  .filter(Boolean)
                  .join(", ")}
          </span>
        ) : null}
      </p>
    </>
  );
}
