/** What a program is run with. */
import * as desk from "./desk";
import { SECONDS, split } from "./program";

export function Inputs() {
  const { args, input } = desk.draft.value;
  const limits = desk.limits.value;
  const most = desk.language.value?.limits ?? {};
  const number = (name: "timeout" | "memoryMb", fallback?: number) => {
    const take = (event: Event) => {
      const value = Number((event.currentTarget as HTMLInputElement).value);
      desk.changeLimits({ [name]: value > 0 ? value : fallback });
    };
    // Ctrl+Enter runs with what was just typed.
    return { onChange: take, onKeyDown: (event: KeyboardEvent) => event.key === "Enter" && take(event) };
  };
  const count = split(args).length;
  const told = [input ? "input" : "", count > 0 ? `${count} ${count === 1 ? "argument" : "arguments"}` : ""].filter(Boolean).join(", ");
  return (
    <details class="inputs" open={innerWidth > 900}>
      <summary>
        Input, arguments, limits <span class="muted">{told}</span>
      </summary>
      <div class="inputs-grid">
        <div class="field inputs-stdin">
          <label for="stdin">Standard input</label>
          <textarea
            id="stdin"
            rows={3}
            spellcheck={false}
            placeholder="What the program reads; leave it empty to type while it runs"
            value={input}
            onInput={(it) => desk.change({ input: it.currentTarget.value })}
          />
        </div>
        <div class="field inputs-args">
          <label for="args">Arguments</label>
          <input
            id="args"
            spellcheck={false}
            autocomplete="off"
            placeholder="as in a shell: --name 'two words'"
            value={args}
            onInput={(it) => desk.change({ args: it.currentTarget.value })}
          />
        </div>
        <div class="field">
          <label for="timeout">Seconds</label>
          <input
            id="timeout"
            type="number"
            class="number"
            min={0.1}
            step="any"
            max={most.timeoutMaxSeconds ?? 60}
            placeholder={String(SECONDS)}
            value={limits.timeout ?? ""}
            {...number("timeout")}
          />
        </div>
        <div class="field">
          <label for="memory">Memory, MB</label>
          <input
            id="memory"
            type="number"
            class="number"
            min={16}
            max={most.memoryMaxMb ?? 512}
            value={limits.memoryMb}
            {...number("memoryMb", 128)}
          />
        </div>
        <div class="field inputs-bring">
          <label for="bring">Files to bring back</label>
          <input
            id="bring"
            spellcheck={false}
            autocomplete="off"
            placeholder="*.png out/*.csv"
            value={limits.bring}
            onInput={(it) => desk.changeLimits({ bring: it.currentTarget.value })}
          />
        </div>
        <label class="check">
          <input type="checkbox" checked={desk.isChecking.value} onChange={(it) => desk.check(it.currentTarget.checked)} />
          Check as I type
        </label>
      </div>
    </details>
  );
}
