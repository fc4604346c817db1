/**
 * The time as the gateway has it. What it tells of is shown by its age, and a viewer's clock may be wrong by
 * minutes. Answers say when they were made, if roughly, so a clock that agrees with that is taken as it is.
 */

/** Such a time is in whole seconds, and servers make it anew only now and then. */
const ROUGH_MS = 2000;

/** What the gateway's clock is ahead of this one. */
let aheadMs = 0;

/** Learns from an answer's `Date`; what was asked at `asked` was told at `told`, by this clock. */
export function learn(date: string | null, asked: number, told: number): void {
  const made = Date.parse(date ?? "");
  if (Number.isNaN(made)) return;
  const [least, most] = [made - told, made + ROUGH_MS - asked];
  aheadMs = Math.min(Math.max(aheadMs, least), Math.max(least, most));
}

/** Now, by the gateway's clock. */
export const now = (): number => Date.now() + aheadMs;

/** A time of the gateway, by the clock of this machine. */
export const here = (time: number): number => time - aheadMs;
