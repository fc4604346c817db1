/** Asks before something is destroyed. The dialog is the browser's own: it keeps the focus, and gives it back. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export interface Question {
  title: string;
  /** What happens then. */
  text: string;
  /** What the button says that does it. */
  action: string;
}

const asked = signal<(Question & { answer: (isWanted: boolean) => void }) | undefined>(undefined);

/** Whether that is wanted, once somebody has said so. */
export function confirm(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((answer) => {
    asked.value = { ...question, answer };
  });
}

/** Where questions are shown: once on each page that asks any. */
export function Confirmer() {
  const dialog = useRef<HTMLDialogElement>(null);
  const question = asked.value;
  useEffect(() => {
    if (question && !dialog.current?.open) dialog.current?.showModal();
  }, [question]);
  useEffect(() => () => end(false), []);
  const end = (isWanted: boolean) => {
    asked.peek()?.answer(isWanted);
    asked.value = undefined;
  };
  const close = (isWanted: boolean) => {
    // The focus goes back first, so that whatever is done finds it where it was.
    dialog.current?.close();
    end(isWanted);
  };
  return (
    <dialog
      ref={dialog}
      class="dialog card"
      aria-labelledby="dialog-title"
      aria-describedby="dialog-text"
      onCancel={(event) => {
        event.preventDefault();
        close(false);
      }}
    >
      <h2 id="dialog-title">{question?.title}</h2>
      <p id="dialog-text">{question?.text}</p>
      <div class="dialog-end">
        <button type="button" class="button" autofocus onClick={() => close(false)}>
          Leave it
        </button>
        <button type="button" class="button danger" onClick={() => close(true)}>
          {question?.action}
        </button>
      </div>
    </dialog>
  );
}
