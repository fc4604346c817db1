const { Worker, isMainThread, parentPort, workerData, MessageChannel } = require("worker_threads");
const assert = require("assert");

if (isMainThread) {
  const ask = (n) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(__filename, { workerData: n });
      worker.once("message", resolve).once("error", reject);
    });
  const failed = new Promise((resolve) => {
    new Worker("throw new RangeError('told')", { eval: true }).once("error", resolve);
  });
  const { port1, port2 } = new MessageChannel();
  const posted = new Promise((resolve) => port2.once("message", resolve));
  port1.postMessage("over");
  Promise.all([ask(3), ask(4), failed, posted]).then(([nine, sixteen, error, word]) => {
    assert.deepStrictEqual([nine, sixteen, error.message, word], [9, 16, "told", "over"]);
    port1.close();
    console.log("works");
  });
} else {
  parentPort.postMessage(workerData * workerData);
}
