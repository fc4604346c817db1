const assert = require("assert");
const timers = require("timers/promises");

const order = [];
(async () => {
  setTimeout(() => order.push("timeout"), 5);
  setImmediate(() => order.push("immediate"));
  process.nextTick(() => order.push("tick"));
  queueMicrotask(() => order.push("microtask"));
  clearTimeout(setTimeout(() => order.push("never"), 1));
  let ticks = 0;
  await new Promise((resolve) => {
    const interval = setInterval(() => { if (++ticks === 3) { clearInterval(interval); resolve(); } }, 1);
  });
  assert.strictEqual(await timers.setTimeout(20, "value"), "value");
  await assert.rejects(timers.setTimeout(60000, null, { signal: AbortSignal.timeout(10) }), { name: "AbortError" });
  assert.deepStrictEqual(order.sort(), ["immediate", "microtask", "tick", "timeout"]);
  console.log("works");
})();
