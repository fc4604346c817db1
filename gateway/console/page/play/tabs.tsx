/** The files of a program: one tab each, the entry first, and what can be done to them. */
import { useEffect, useRef, useState } from "preact/hooks";

import { Icon } from "../shell/icon";
import { wrongPath } from "./program";

interface TabsProps {
  /** What identifies each, and what it is called. */
  files: { id: string; path: string }[];
  active: number;
  /** Changes when the program is another one. */
  program: unknown;
  isReadOnly?: boolean;
  /** A name for one more file. */
  fresh: () => string;
  onShow: (index: number) => void;
  onAdd: (path: string) => void;
  onRename: (path: string) => void;
  onDelete: () => void;
}

export function Tabs({ files, active, program, isReadOnly, fresh, onShow, onAdd, onRename, onDelete }: TabsProps) {
  const [naming, setNaming] = useState<"add" | "rename">();
  const list = useRef<HTMLDivElement>(null);

  // Another program has other files.
  useEffect(() => setNaming(undefined), [program]);

  const pressed = (event: KeyboardEvent) => {
    const next = { ArrowRight: active + 1, ArrowLeft: active - 1, Home: 0, End: files.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const index = (next + files.length) % files.length;
    onShow(index);
    list.current?.querySelectorAll<HTMLElement>('[role="tab"]')[index]?.focus();
  };
  const named = (path: string) => {
    if (naming === "add") onAdd(path);
    else onRename(path);
    setNaming(undefined);
  };
  const path = files[active]?.path ?? "";
  if (naming) {
    return (
      <NameForm
        first={naming === "add" ? fresh() : path}
        others={files.filter((_, index) => naming === "add" || index !== active).map((it) => it.path)}
        verb={naming === "add" ? "Add" : "Rename"}
        onName={named}
        onCancel={() => setNaming(undefined)}
      />
    );
  }
  return (
    <div class="files">
      <div class="tabs" role="tablist" aria-label="Files" ref={list} onKeyDown={pressed}>
        {files.map((it, index) => (
          <button
            key={it.id}
            type="button"
            role="tab"
            class="tab"
            aria-selected={index === active}
            tabIndex={index === active ? 0 : -1}
            title={it.path}
            onClick={() => onShow(index)}
            onDblClick={() => !isReadOnly && setNaming("rename")}
          >
            <span class="clip">{it.path}</span>
          </button>
        ))}
      </div>
      {isReadOnly ? null : (
        <div class="files-end">
          <button type="button" class="icon-button" aria-label="Add a file" title="Add a file" onClick={() => setNaming("add")}>
            <Icon name="plus" />
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label={`Rename ${path || "this file"}`}
            title="Rename this file"
            onClick={() => setNaming("rename")}
          >
            <Icon name="pencil" />
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label={`Delete ${path || "this file"}`}
            title="Delete this file"
            disabled={files.length < 2}
            onClick={onDelete}
          >
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}

interface NameFormProps {
  first: string;
  others: string[];
  verb: string;
  onName: (path: string) => void;
  onCancel: () => void;
}

function NameForm({ first, others, verb, onName, onCancel }: NameFormProps) {
  const input = useRef<HTMLInputElement>(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    input.current?.focus();
    input.current?.setSelectionRange(0, first.lastIndexOf(".") > 0 ? first.lastIndexOf(".") : first.length);
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    const path = input.current?.value.trim() ?? "";
    const fault = wrongPath(path, others);
    if (fault) setWrong(fault);
    else onName(path);
  };
  return (
    <form class="files name-form" onSubmit={submit} onKeyDown={(it) => it.key === "Escape" && onCancel()}>
      <input
        ref={input}
        defaultValue={first}
        aria-label="Name of the file"
        aria-describedby="name-wrong"
        aria-invalid={wrong !== ""}
        spellcheck={false}
        autocomplete="off"
      />
      <button type="submit" class="button small primary">
        {verb}
      </button>
      <button type="button" class="button small" onClick={onCancel}>
        Cancel
      </button>
      <span id="name-wrong" class="fault small" role="alert">
        {wrong}
      </span>
    </form>
  );
}
