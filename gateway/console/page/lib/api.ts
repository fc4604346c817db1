/** Requests to the gateway that served this page, and what it says when it refuses one. */
import { isKeyWanted, key } from "./key";
import { learn } from "./time";

export interface FieldError {
  pointer: string;
  detail: string;
}

/** A refusal (RFC 9457), or no answer at all (`status` 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly requestId = "",
    readonly errors: FieldError[] = [],
    readonly retryAfter?: number,
  ) {
    super(detail);
    this.name = "Problem";
  }

  /** What to show: all wrong fields where there are some, and otherwise the reason. */
  get lines(): string[] {
    return this.errors.length > 0 ? this.errors.map((it) => it.detail) : [this.message];
  }
}

/** Refusals of what was brought in place of a key. */
const WITHOUT_KEY = new Set(["wrong_ticket", "invitation_wrong"]);

/** Sends a request with the tab's key; throws a `Problem` unless it is answered well or with 304. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key.value) headers.set("authorization", `Bearer ${key.value}`);
  let response: Response;
  const asked = Date.now();
  try {
    response = await fetch(path, { cache: "no-store", ...init, headers });
    learn(response.headers.get("date"), asked, Date.now());
  } catch (error) {
    if (init.signal?.reason?.name === "TimeoutError") throw new Problem(0, "silent", "The gateway does not answer in time.");
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "The gateway does not answer. Is it running, and are you online?");
  }
  if (response.ok || response.status === 304) return response;
  const problem = await problemOf(response);
  // A run's ticket is no key, and whoever came to a room by an invitation needs another one.
  if (problem.status === 401 && !WITHOUT_KEY.has(problem.code)) isKeyWanted.value = true;
  throw problem;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await send(path, { signal: signal ?? null });
  return (await response.json()) as T;
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const response = await send(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: signal ?? null,
  });
  return (await response.json()) as T;
}

async function problemOf(response: Response): Promise<Problem> {
  const retry = Number(response.headers.get("retry-after"));
  const retryAfter = retry > 0 ? retry : undefined;
  try {
    const told = await response.json();
    return new Problem(response.status, told.code, told.detail, told.requestId, told.errors ?? [], retryAfter);
  } catch {
    const detail = `The gateway answered ${response.status} and did not say why.`;
    return new Problem(response.status, "unknown", detail, "", [], retryAfter);
  }
}
