/** The queue as a whole, at a glance. */
import { age, bytes, count, durability, plural } from "../lib/format";
import type { Polled } from "../lib/fresh";
import { Tile } from "../shell/tile";
import { capital } from "./parts";
import { type Queue, totals } from "./report";

const HEALTH = { pass: "Well", warn: "Wants a look", fail: "Fails" } as const;

export function Summary({ polled }: { polled: Polled<Queue> }) {
  const queue = polled.data.value;
  const all = queue && totals(queue);
  // What is not known yet is not told as nothing.
  const more = (text: string) => (queue ? text : "");
  return (
    <section class="card summary" aria-label="The queue" aria-busy={!queue}>
      <dl class="tiles">
        <Tile name="Queue" value={queue ? HEALTH[queue.health] : "–"} more={more(queue?.reason ? capital(queue.reason) : "jobs are taken and run")} tone={queue?.health} />
        <Tile
          name="Ready"
          value={all ? count(all.ready) : "–"}
          more={more(all?.oldestReadyMs ? `oldest waits ${age(all.oldestReadyMs / 1000)}` : all?.scheduled ? `${count(all.scheduled)} scheduled` : "none waits")}
        />
        <Tile name="Running" value={all ? count(all.leased) : "–"} more={queue ? `on ${plural(queue.slots, "slot")}` : ""} />
        <Tile name="Dead" value={all ? count(all.dead) : "–"} more={more(all?.dead ? "can be redriven" : "none")} tone={all?.dead ? "fail" : undefined} />
        <Tile
          name="Run by"
          value={queue ? count(queue.executors + queue.workers) : "–"}
          more={queue ? `${plural(queue.executors, "executor")}, ${plural(queue.workers, "worker")}` : ""}
        />
        <Tile name="Store" value={queue ? bytes(queue.bytes) : "–"} more={queue ? durability(queue.durability) : ""} />
      </dl>
    </section>
  );
}
