/** A line that is typed into a program while it runs. */
import { useEffect, useRef, useState } from "preact/hooks";

import { announce } from "../shell/announce";
import { Signals } from "./signals";
import type { Running } from "./run";

/** Lines that can be had back with the arrow keys. */
const LINES_KEPT = 100;

export function InputLine({ running }: { running: Running }) {
  const field = useRef<HTMLInputElement>(null);
  const lines = useRef<string[]>([]);
  const at = useRef(0);
  const [hasEnded, setEnded] = useState(false);
  useEffect(() => setEnded(false), [running]);

  const say = (text: string) => {
    running.input(text);
    if (field.current) field.current.value = "";
  };
  const send = () => {
    const text = field.current?.value ?? "";
    if (text && lines.current.at(-1) !== text) lines.current = [...lines.current, text].slice(-LINES_KEPT);
    at.current = lines.current.length;
    say(`${text}\n`);
  };
  const end = () => {
    const text = field.current?.value ?? "";
    if (text) say(text);
    running.eof();
    setEnded(true);
    announce("The input has ended");
  };
  const recall = (step: number) => {
    at.current = Math.min(Math.max(at.current + step, 0), lines.current.length);
    if (field.current) field.current.value = lines.current[at.current] ?? "";
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.isComposing || event.altKey || event.metaKey) return;
    if (event.ctrlKey && event.key === "d" && !field.current?.value) end();
    else if (event.ctrlKey && event.key === "c" && !hasSelection(field.current)) running.signal("INT");
    else if (!event.ctrlKey && event.key === "ArrowUp") recall(-1);
    else if (!event.ctrlKey && event.key === "ArrowDown") recall(1);
    else return;
    event.preventDefault();
  };
  return (
    <form
      class="input-line"
      onSubmit={(it) => {
        it.preventDefault();
        send();
      }}
    >
      <label for="input-line">Input</label>
      <input
        id="input-line"
        ref={field}
        disabled={hasEnded}
        onKeyDown={pressed}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        enterkeyhint="send"
        placeholder={hasEnded ? "The input has ended" : "Type a line, Enter sends it"}
        aria-keyshortcuts="Enter Control+D Control+C"
      />
      <div class="row">
        <button type="button" class="button small" disabled={hasEnded} onClick={end} title="Ends the input (Ctrl+D in the empty field)">
          EOF
        </button>
        <Signals running={running} />
      </div>
    </form>
  );
}

/** Whether Ctrl+C is to copy something, and not to interrupt. */
function hasSelection(field: HTMLInputElement | null): boolean {
  return field?.selectionStart !== field?.selectionEnd || !(getSelection()?.isCollapsed ?? true);
}
