/** A button that opens a menu of things to do. */
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { Icon } from "./icon";

export interface MenuItem {
  title: string;
  about?: string;
  choose: () => void;
}

export function Menu({ title, items }: { title: string; items: MenuItem[] }) {
  const id = useId();
  const host = useRef<HTMLDivElement>(null);
  /** Which item has the focus when the menu opens; none while it is closed. */
  const [first, setFirst] = useState<number>();
  const isOpen = first !== undefined;
  const all = () => [...(host.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
  const button = () => host.current?.querySelector<HTMLElement>("button[aria-haspopup]");

  // At once, so that the next key is the menu's.
  useLayoutEffect(() => {
    if (first !== undefined) all().at(first)?.focus();
  }, [first]);
  useEffect(() => {
    if (!isOpen) return;
    const pressed = (event: PointerEvent) => {
      if (!host.current?.contains(event.target as Node)) setFirst(undefined);
    };
    addEventListener("pointerdown", pressed);
    return () => removeEventListener("pointerdown", pressed);
  }, [isOpen]);

  const close = () => {
    setFirst(undefined);
    button()?.focus();
  };
  const move = (event: KeyboardEvent) => {
    const found = all();
    const at = found.indexOf(document.activeElement as HTMLElement);
    const next: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1 + found.length, Home: 0, End: found.length - 1 };
    if (event.key === "Escape") close();
    else if (event.key === "Tab") return setFirst(undefined);
    else if (event.key in next) found[(next[event.key] ?? 0) % found.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="menu" ref={host}>
      <button
        type="button"
        class="button small"
        aria-haspopup="menu"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        onClick={() => setFirst(isOpen ? undefined : 0)}
        onKeyDown={(it) => {
          if (it.key !== "ArrowDown" && it.key !== "ArrowUp") return;
          it.preventDefault();
          setFirst(it.key === "ArrowDown" ? 0 : -1);
        }}
      >
        {title}
        <Icon name="chevron" />
      </button>
      {isOpen ? (
        <div class="card menu-items" id={id} role="menu" aria-label={title} onKeyDown={move}>
          {items.map((it) => (
            <button
              key={it.title}
              type="button"
              role="menuitem"
              tabIndex={-1}
              onClick={() => {
                close();
                it.choose();
              }}
            >
              {it.title}
              {it.about ? <span class="muted small">{it.about}</span> : null}
            </button>
          ))}
        </div>
      ) : null}
    </div>
  );
}
