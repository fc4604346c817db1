/** The terminal itself, in the page's colours. It is large, so it is loaded when somebody wants one. */
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";

import "@xterm/xterm/css/xterm.css";

/** Lines that can be scrolled back to. */
const LINES_KEPT = 5000;
/** A program's colours are changed where they could not be read. */
const CONTRAST_MIN = 4.5;
/** The cursor is there while keys go somewhere. */
const CURSOR = { shown: "\u001b[?25h", hidden: "\u001b[?25l" };
/** What a terminal may have, as the gateway says. */
const SIZE_MAX = 500;

export interface Size {
  cols: number;
  rows: number;
}

interface Listener {
  onInput: (text: string) => void;
  onSize: (size: Size) => void;
}

export interface Screen {
  /** Shows what a program wrote. What was written in the `past` is not answered again, as it was then. */
  write(text: string, isPast: boolean): void;
  clear(): void;
  /** Whether keys go to a program. */
  take(isWanted: boolean): void;
  /** Takes the page's colours anew. */
  colour(): void;
  focus(): void;
  close(): void;
}

export function open(host: HTMLElement, label: string, { onInput, onSize }: Listener): Screen {
  const { fontFamily, fontSize } = getComputedStyle(host);
  const terminal = new Terminal({
    fontFamily,
    fontSize: Number.parseFloat(fontSize),
    lineHeight: 1.2,
    theme: themeOf(host),
    minimumContrastRatio: CONTRAST_MIN,
    scrollback: LINES_KEPT,
    screenReaderMode: true,
    disableStdin: true,
    cursorBlink: false,
    cursorInactiveStyle: "outline",
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(host);
  // It can be read line by line, but what is said aloud is how a run ends, and not all that a program writes.
  host.querySelector(".live-region")?.setAttribute("aria-live", "off");
  terminal.write(CURSOR.hidden);
  terminal.textarea?.setAttribute("aria-label", label);
  /** Pieces of the past that are not shown yet. */
  let past = 0;
  terminal.onData((text) => past === 0 && onInput(text));
  terminal.attachCustomKeyEventHandler((event) => isForProgram(event, terminal));
  const measure = () => {
    const size = fit.proposeDimensions();
    if (!size || !host.clientWidth) return;
    const cols = Math.min(size.cols, SIZE_MAX);
    const rows = Math.min(size.rows, SIZE_MAX);
    if (cols !== terminal.cols || rows !== terminal.rows) terminal.resize(cols, rows);
    onSize({ cols, rows });
  };
  const observer = new ResizeObserver(measure);
  observer.observe(host);
  measure();
  return {
    write(text, isPast) {
      if (isPast) past += 1;
      terminal.write(text, isPast ? () => (past -= 1) : undefined);
    },
    clear() {
      terminal.reset();
      terminal.write(terminal.options.disableStdin ? CURSOR.hidden : CURSOR.shown);
    },
    take(isWanted) {
      if (terminal.options.disableStdin !== isWanted) return;
      terminal.options.disableStdin = !isWanted;
      terminal.write(isWanted ? CURSOR.shown : CURSOR.hidden);
      terminal.options.cursorBlink = isWanted && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    },
    colour: () => (terminal.options.theme = themeOf(host)),
    focus: () => terminal.focus(),
    close() {
      observer.disconnect();
      terminal.dispose();
    },
  };
}

/** Whether a key is the program's. Others are the page's, and Shift+Tab always leads out. */
function isForProgram(event: KeyboardEvent, terminal: Terminal): boolean {
  const isControl = event.ctrlKey || event.metaKey;
  if (event.key === "Tab") return !event.shiftKey && !terminal.options.disableStdin;
  if (!isControl) return true;
  if (event.key === "Enter" || event.key === ".") return false;
  const key = event.key.toLowerCase();
  // What is selected is copied; otherwise it interrupts.
  if (key === "c") return !terminal.hasSelection();
  return key !== "v";
}

/** The page's own colours, as they are just now. */
function themeOf(host: HTMLElement): ITheme {
  const probe = document.createElement("span");
  const palette = document.createElement("span");
  palette.className = "log";
  palette.hidden = true;
  palette.append(probe);
  host.append(palette);
  const token = (name: string) => {
    probe.className = "";
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const ansi = (number: number) => {
    probe.style.color = "";
    probe.className = `fg-${number}`;
    return getComputedStyle(probe).color;
  };
  const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] as const;
  const theme: ITheme = {
    background: token("surface"),
    foreground: token("text"),
    cursor: token("accent"),
    cursorAccent: token("surface"),
    selectionBackground: token("selection"),
    scrollbarSliderBackground: token("none-fill"),
    scrollbarSliderHoverBackground: token("edge"),
    scrollbarSliderActiveBackground: token("edge"),
  };
  for (const [index, name] of names.entries()) {
    theme[name] = ansi(index);
    theme[`bright${name.charAt(0).toUpperCase()}${name.slice(1)}` as keyof ITheme & `bright${string}`] = ansi(index + 8);
  }
  palette.remove();
  return theme;
}
