/** Numbers and times as people read them: short, and of equal width where they stand below each other. */

/** Milliseconds, in the unit that needs the fewest digits. */
export function duration(ms: number | undefined | null): string {
  if (ms === undefined || ms === null || !Number.isFinite(ms)) return "–";
  if (ms < 0.05) return "0 ms";
  if (ms < 10) return `${trim(ms, 1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trim(ms / 1000, ms < 10_000 ? 2 : 1)} s`;
  return `${trim(ms / 60_000, 1)} min`;
}

const trim = (value: number, digits: number): string => value.toFixed(digits).replace(/\.0+$/, "");

export function bytes(count: number | undefined | null): string {
  if (count === undefined || count === null) return "–";
  const units = ["B", "KB", "MB", "GB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : trim(value, 1)} ${units[unit]}`;
}

/** How long ago, in one or two units. */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const steps: [number, string][] = [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  for (const [index, [size, unit]] of steps.entries()) {
    if (whole < size && size > 1) continue;
    const count = Math.floor(whole / size);
    const next = steps[index + 1];
    const rest = next ? Math.floor((whole % size) / next[0]) : 0;
    return rest > 0 && next && count < 10 ? `${count} ${unit} ${rest} ${next[1]}` : `${count} ${unit}`;
  }
  return "0 s";
}

/** A time of day, `12:04:31`. */
export function clock(time: number): string {
  return new Date(time).toLocaleTimeString("en-GB");
}

/** A day and a time, for what may be of another day. */
export function moment(time: number): string {
  return new Date(time).toLocaleString("en-GB", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

/** A share of a whole; never 100 % unless it is all of it. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return "–";
  const share = (part / whole) * 100;
  if (part === whole) return "100 %";
  return `${Math.min(99.9, Math.floor(share * 10) / 10).toFixed(1)} %`;
}

export function count(number: number): string {
  return number.toLocaleString("en-GB").replaceAll(",", "\u202f");
}

/** `runtime_error` as `runtime error`. */
export const words = (name: string): string => name.replaceAll("_", " ");

/** What the gateway says of something, as a sentence. */
export const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`;

const DURABILITY: Record<string, string> = {
  power_loss: "survives loss of power",
  process_crash: "survives a crash",
  about_a_second: "but for the last second",
};

/** What an acknowledged job outlives. */
export const durability = (name: string): string => DURABILITY[name] ?? words(name);
