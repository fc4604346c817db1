/**
 * Keys of one sign: `/` leads to the filters of a page, `?` opens a list of all keys. Whoever speaks to their
 * machine could press them unawares, so they can be turned off (WCAG 2.1.4).
 */
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { store, stored } from "../lib/storage";

const NAME = "keys";
const areOn = signal(stored(NAME) !== "off");

const KEYS: { where: string; keys: [combination: string, what: string][] }[] = [
  {
    where: "Anywhere",
    keys: [
      ["/", "To the filters, where there are some"],
      ["?", "This list"],
    ],
  },
  {
    where: "With a program",
    keys: [
      ["Ctrl Enter", "Run it"],
      ["Ctrl .", "Stop it"],
      ["Esc Tab", "Leave the editor"],
      ["Shift Tab", "Leave the terminal"],
    ],
  },
  {
    where: "In the line that a program reads",
    keys: [
      ["↑ ↓", "Lines that were typed before"],
      ["Ctrl D", "End the input, while the line is empty"],
      ["Ctrl C", "Interrupt the program"],
    ],
  },
];

export function Keys() {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (!areOn.value || !isFree(event)) return;
      const filter = document.querySelector<HTMLElement>("[data-filters] :is(input, select)");
      if (event.key === "?") setOpen(true);
      else if (event.key === "/" && filter) filter.focus();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return (
    <>
      <button type="button" class="icon-button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" onClick={() => setOpen(true)}>
        <span aria-hidden="true">?</span>
      </button>
      {isOpen ? <List onClose={() => setOpen(false)} /> : null}
    </>
  );
}

/** Whether a key is nobody else's: not part of what is typed, of a chord, or of a dialog. */
export function isFree(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return false;
  // The editor has a tree of its own, in which it is typed.
  const at = event.composedPath()[0];
  const isTyped = at instanceof Element && at.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable=true]");
  return !isTyped && !document.querySelector("dialog[open]");
}

function List({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const choose = (isWanted: boolean) => {
    areOn.value = isWanted;
    store(NAME, isWanted ? undefined : "off");
  };
  return (
    <dialog ref={dialog} class="dialog card" aria-labelledby="keys-title" onClose={onClose}>
      <h2 id="keys-title">Keyboard shortcuts</h2>
      {KEYS.map(({ where, keys }) => (
        <section key={where}>
          <h3>{where}</h3>
          <dl class="keys">
            {keys.map(([combination, what]) => (
              <div key={combination}>
                <dt>
                  {combination.split(" ").map((it) => (
                    <kbd key={it}>{it}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <label class="switch">
        <input type="checkbox" role="switch" checked={areOn.value} onChange={(it) => choose(it.currentTarget.checked)} />
        <span>
          <kbd>/</kbd> and <kbd>?</kbd> do something
        </span>
      </label>
      <div class="dialog-end">
        <button type="button" class="button" autofocus onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}
