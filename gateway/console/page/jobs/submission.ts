/** What a job runs: as files to look at, as a request to send again, and as a program for the playground. */
import { joined, quoted } from "../play/program";
import type { Shared } from "../play/share";
import type { Job } from "./report";

/** The body of a job, as far as the page shows it. */
export interface Submission {
  language: string;
  code?: string;
  files?: { path: string; content: string; encoding?: string }[];
  inputData?: string;
  args?: string[];
  [name: string]: unknown;
}

/** The same job once more, as `POST /v1/jobs` takes it. */
export function again(submission: Submission, job: Pick<Job, "queue" | "priority" | "attemptsMax">): Record<string, unknown> {
  return { ...submission, queue: job.queue, priority: job.priority, maxAttempts: job.attemptsMax };
}

export function curl(origin: string, body: Record<string, unknown>, hasKey: boolean): string {
  const key = hasKey ? ` \\\n  -H "authorization: Bearer $FLOTILLA_KEY"` : "";
  return `curl -s ${origin}/v1/jobs -H 'content-type: application/json'${key} \\\n  -d ${quoted(JSON.stringify(body))}\n`;
}

export interface Source {
  path: string;
  content: string;
  isBinary: boolean;
}

/** Its files; code without a name has that of the language's entry. */
export function sourcesOf(submission: Submission, entry: string): Source[] {
  if (submission.code !== undefined) return [{ path: entry, content: submission.code, isBinary: false }];
  return (submission.files ?? []).map((it) => ({ path: it.path, content: it.content, isBinary: it.encoding === "base64" }));
}

/** For the playground, which knows texts only. */
export function shared(submission: Submission, language: string, entry: string): Shared | undefined {
  const sources = sourcesOf(submission, entry);
  if (sources.length === 0 || sources.some((it) => it.isBinary)) return undefined;
  const files = sources.map(({ path, content }) => ({ path, content }));
  return { language, files, args: joined(submission.args ?? []), input: submission.inputData ?? "" };
}

const SHOWN_ELSEWHERE = new Set(["language", "code", "files", "inputData"]);

/** Everything else that was asked for, by name. */
export function wishesOf(submission: Submission): [string, string][] {
  const rest = Object.entries(submission).filter(([name, value]) => !SHOWN_ELSEWHERE.has(name) && value !== undefined && value !== null);
  return rest.map(([name, value]) => [name, wish(name, value)]);
}

function wish(name: string, value: unknown): string {
  if (name === "timeout" || name === "cpuTime") return `${value} s`;
  if (name === "memoryLimit") return `${value} MB`;
  if (name === "args" && Array.isArray(value)) return joined(value.map(String));
  if (name === "cases" && Array.isArray(value)) return `${value.length}`;
  if (Array.isArray(value) && value.every((it) => typeof it === "string")) return value.join(" ");
  return typeof value === "string" ? value : JSON.stringify(value);
}
