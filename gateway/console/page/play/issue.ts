/** A run that failed, as a text for whoever looks into it: what came of it, with what, and what was run. */
import { bytes, duration } from "../lib/format";
import { ending, said, titleOf, toneOf } from "../run/standing";
import type { Outcome } from "../run/watch";
import type { File } from "./program";

/** Characters of the output; its end says most. */
const OUTPUT_MAX = 4000;

/** What a terminal is told beside the text. */
const COLOURS = /\u001b\[[\d;?]*[ -/]*[@-~]/g;

export const hasFailed = (outcome: Outcome | undefined): boolean =>
  outcome?.kind === "problem" || (outcome?.kind === "report" && toneOf(outcome.report.status) === "fail");

/** In Markdown. `body` is what was asked for, as to `POST /v1/execute`. */
export function issueOf(body: Record<string, unknown>, outcome: Outcome, run: string | undefined, output: string): string {
  const { language, version, code, files, args, inputData, timeout, memoryLimit } = body;
  const facts = [`Limits: ${timeout} s, ${memoryLimit} MB`];
  if (outcome.kind === "report") {
    const { report } = outcome;
    facts.unshift(`Runtime: ${report.language} ${report.version}, isolation ${report.isolation}, ${report.warm ? "warm" : "cold"}`);
    facts.push(`Taken: ${duration(report.executionTime * 1000)}, processor ${duration(report.cpuTime * 1000)}, ${bytes(report.memoryUsed)}`);
  } else facts.unshift(`Runtime: ${language} ${version ?? "(default version)"}`);
  const request = outcome.kind === "report" ? outcome.report.requestId : outcome.kind === "problem" ? outcome.problem.requestId : "";
  if (request) facts.push(`Request: ${request}`);
  if (run) facts.push(`Run: ${run}`);

  const sources = typeof code === "string" ? [{ path: "Program", content: code }] : ((files ?? []) as File[]);
  const texts = sources.map((it) => ({ ...it, mark: String(language) }));
  if (Array.isArray(args)) texts.push({ path: "Arguments", content: JSON.stringify(args), mark: "json" });
  if (inputData) texts.push({ path: "Standard input", content: String(inputData), mark: "" });
  const plain = output.replace(COLOURS, "");
  if (plain) texts.push({ path: plain.length > OUTPUT_MAX ? "End of the output" : "Output", content: plain.slice(-OUTPUT_MAX), mark: "" });
  const parts = [
    `**${verdictOf(outcome)}**`,
    facts.map((it) => `- ${it}`).join("\n"),
    ...texts.map(({ path, content, mark }) => `${path}:\n\n${fenced(content, mark)}`),
  ];
  return `${parts.join("\n\n")}\n`;
}

function verdictOf(outcome: Outcome): string {
  if (outcome.kind !== "report") return said(outcome);
  return [titleOf(outcome.report.status), ending(outcome.report)].filter(Boolean).join(", ");
}

/** A text that stays as it is, whatever is in it. */
function fenced(text: string, mark: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), ([it]) => it.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${mark}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}
