/** A run on a terminal: its screen, and the keys that go to it. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { theme } from "../shell/theme";
import { Signals } from "./signals";
import type { Watched } from "./watch";
import type { Screen, Size } from "./xterm";

interface TerminalProps {
  /** None before a program is run on it. */
  run: Watched | undefined;
  canType: boolean;
  /** Is told how large the terminal is, at first and whenever that changes. */
  onSize?: ((size: Size) => void) | undefined;
  /** What to show before there is a run. */
  children?: ComponentChildren;
}

export function Terminal({ run, canType, onSize, children }: TerminalProps) {
  const host = useRef<HTMLDivElement>(null);
  const size = useRef<Size | undefined>(undefined);
  const current = useRef<Watched | undefined>(undefined);
  const [screen, setScreen] = useState<Screen>();
  const [isMissing, setMissing] = useState(false);
  const isOpen = run !== undefined && run.outcome.value === undefined;
  const takesKeys = canType && isOpen;
  current.current = takesKeys ? run : undefined;

  useEffect(() => {
    let own: Screen | undefined;
    let isGone = false;
    import("./xterm").then(
      ({ open }) => {
        if (!host.current || isGone) return;
        own = open(host.current, "Terminal. Shift and Tab leave it", {
          onInput: (text) => current.current?.running.input(text),
          onSize: (now) => {
            size.current = now;
            onSize?.(now);
            current.current?.running.resize(now.cols, now.rows);
          },
        });
        setScreen(own);
      },
      () => setMissing(true),
    );
    return () => {
      isGone = true;
      own?.close();
    };
  }, []);

  useEffect(() => {
    if (!screen || !run) return;
    const stop = run.follow((written) => {
      for (const it of written) if (it.type !== "stdin") screen.write(it.data, it.isPast);
    });
    return () => {
      stop();
      screen.clear();
    };
  }, [screen, run]);
  useEffect(() => {
    if (!screen) return;
    screen.take(takesKeys);
    if (!takesKeys) return;
    // It may have another size than when it was begun, or than somebody else gave it.
    if (size.current) run?.running.resize(size.current.cols, size.current.rows);
    screen.focus();
  }, [screen, run, takesKeys]);
  useEffect(() => screen?.colour(), [screen, theme.value]);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const colour = () => screen?.colour();
    query.addEventListener("change", colour);
    return () => query.removeEventListener("change", colour);
  }, [screen]);

  return (
    <>
      <div class="terminal-frame">
        <div class="terminal-host" ref={host} />
        {run ? null : <div class="log-empty muted">{children}</div>}
        {isMissing ? <p class="log-empty fault">The terminal could not be loaded. Load the page again.</p> : null}
      </div>
      {/* Always there, so that a run begins with the size that it keeps. */}
      <div class="input-line small muted">
        <span>
          <kbd>Shift</kbd> <kbd>Tab</kbd> leaves the terminal
        </span>
        {takesKeys && run ? <Signals running={run.running} /> : null}
      </div>
    </>
  );
}
