/** A button that opens a menu of things to do. */
import { signal } from "@preact/signals";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { Icon } from "./icon";

export interface MenuItem {
  title: string;
  about?: string;
  /** Whether it takes something away. */
  isDangerous?: boolean;
  choose: () => void;
}

interface MenuProps {
  title: string;
  items: MenuItem[];
  /** Whether it is one of many, below each other: then the button is small, and the menu opens downwards. */
  isOfRow?: boolean;
}

/** How many are open: whatever they are about should stay where it is. */
export const openMenus = signal(0);

export function Menu({ title, items, isOfRow = false }: MenuProps) {
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
    openMenus.value += 1;
    const pressed = (event: PointerEvent) => {
      if (!host.current?.contains(event.target as Node)) setFirst(undefined);
    };
    addEventListener("pointerdown", pressed);
    return () => {
      openMenus.value -= 1;
      removeEventListener("pointerdown", pressed);
    };
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
        class={isOfRow ? "icon-button" : "button small"}
        aria-label={isOfRow ? title : undefined}
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
        {isOfRow ? null : title}
        <Icon name={isOfRow ? "more" : "chevron"} />
      </button>
      {isOpen ? (
        <div class={`card menu-items ${isOfRow ? "downwards" : ""}`} id={id} role="menu" aria-label={title} onKeyDown={move}>
          {items.map((it) => (
            <button
              key={it.title}
              type="button"
              role="menuitem"
              tabIndex={-1}
              class={it.isDangerous ? "fault" : ""}
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
