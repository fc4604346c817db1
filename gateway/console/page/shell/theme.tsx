/** Light, dark, or what the system says. The choice is kept, and `early.js` applies it at the next start. */
import { signal } from "@preact/signals";

import { Icon } from "./icon";
import { stored, store } from "../lib/storage";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const isTheme = (it: string | undefined): it is Theme => THEMES.includes(it as Theme);
const first = stored("theme");

export const theme = signal<Theme>(isTheme(first) ? first : "system");

function choose(chosen: Theme): void {
  theme.value = chosen;
  store("theme", chosen === "system" ? undefined : chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function ThemeButton() {
  const now = theme.value;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      class="icon-button"
      onClick={() => choose(next)}
      aria-label={`Theme: ${now}. Change to ${next}`}
      title={`Theme: ${now}`}
    >
      <Icon name={now === "system" ? "auto" : now === "light" ? "sun" : "moon"} />
    </button>
  );
}
