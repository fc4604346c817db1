/** The run of this tab, kept until it is over, so that a reload finds it again. */
const NAME = "flotilla.run";

export interface KeptRun {
  id: string;
  ticket: string;
  isTerminal: boolean;
  /** When it was asked for. */
  beganAt: number;
  /** What it was begun with. */
  body: Record<string, unknown>;
}

/** Keeps a run, or forgets it. Where nothing may be stored, a reload leaves the run to itself. */
export function keepRun(run: KeptRun | undefined): void {
  try {
    if (run) sessionStorage.setItem(NAME, JSON.stringify(run));
    else sessionStorage.removeItem(NAME);
  } catch {
    // There is no room, or it is not allowed.
  }
}

export function keptRun(): KeptRun | undefined {
  try {
    const run = JSON.parse(sessionStorage.getItem(NAME) ?? "null") as KeptRun | null;
    return run && typeof run.id === "string" && typeof run.ticket === "string" ? run : undefined;
  } catch {
    return undefined;
  }
}
