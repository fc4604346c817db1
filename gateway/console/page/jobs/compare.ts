/** Two results of one program, side by side: what is the same, and what is not. */
import { bytes, duration } from "../lib/format";
import { ending, titleOf } from "../run/standing";
import type { Result } from "./report";

export interface Fact {
  name: string;
  before: string;
  after: string;
  /** Whether it should have been the same, and is not. */
  isOdd: boolean;
  /** How much more it is, for what is measured: `+12 %`. */
  change?: string | undefined;
}

export function facts(before: Result, after: Result): Fact[] {
  const same = (name: string, of: (result: Result) => string): Fact => {
    const [one, other] = [of(before), of(after)];
    return { name, before: one, after: other, isOdd: one !== other };
  };
  const measured = (name: string, of: (result: Result) => number, write: (value: number) => string): Fact => {
    const [one, other] = [of(before), of(after)];
    const told = { name, before: write(one), after: write(other), isOdd: false };
    return told.before === told.after ? told : { ...told, change: changeOf(one, other) };
  };
  const list = [
    same("Status", (it) => titleOf(it.status)),
    same("Ending", (it) => ending(it) || "–"),
    same("Runtime", (it) => `${it.language} ${it.version}`),
    same("Isolation", (it) => it.isolation),
    measured("Run", (it) => it.executionTime * 1000, duration),
    measured("Processor", (it) => it.cpuTime * 1000, duration),
    measured("Memory", (it) => it.memoryUsed, bytes),
    measured("Start", (it) => it.timings.start, duration),
    measured("Waited for a slot", (it) => it.timings.queue, duration),
  ];
  if (before.compile && after.compile) {
    const compile = (it: Result) => (it.compile?.cached ? "cached" : duration((it.compile?.time ?? 0) * 1000));
    list.push({ ...same("Compile", compile), isOdd: false });
  }
  return list;
}

function changeOf(before: number, after: number): string | undefined {
  if (before <= 0 || after <= 0) return undefined;
  const percent = Math.round((after / before - 1) * 100);
  if (percent === 0) return undefined;
  return percent > 999 ? `× ${Math.round(after / before)}` : `${percent > 0 ? "+" : "−"}${Math.abs(percent)} %`;
}

/** The first line in which two texts differ, from 1; nothing if they are the same. */
export function firstDifference(before: string, after: string): number | undefined {
  if (before === after) return undefined;
  const [one, other] = [before.split("\n"), after.split("\n")];
  let line = 0;
  while (line < one.length && line < other.length && one[line] === other[line]) line += 1;
  return line + 1;
}

/** In words, whether two results say the same. */
export function verdict(before: Result, after: Result): { isSame: boolean; text: string } {
  const output = firstDifference(before.output, after.output);
  const error = firstDifference(before.error, after.error);
  const parts = [
    before.status === after.status ? "" : "it ended otherwise",
    output === undefined ? "" : `the output differs from line ${output} on`,
    error === undefined ? "" : `what it wrote to stderr differs from line ${error} on`,
  ].filter(Boolean);
  if (parts.length === 0) return { isSame: true, text: "Both wrote the same and ended the same." };
  const text = parts.join(", ");
  return { isSame: false, text: `${text.charAt(0).toUpperCase()}${text.slice(1)}.` };
}
