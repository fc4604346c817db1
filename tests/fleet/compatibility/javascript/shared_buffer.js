const { Worker, isMainThread, workerData } = require("worker_threads");
const assert = require("assert");

if (isMainThread) {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const workers = [1, 2].map(() => new Worker(__filename, { workerData: shared }));
  Promise.all(workers.map((it) => new Promise((resolve) => it.once("exit", resolve)))).then(() => {
    assert.deepStrictEqual([...shared], [2000, 2]);
    console.log("works");
  });
} else {
  for (let n = 0; n < 1000; n++) Atomics.add(workerData, 0, 1);
  Atomics.add(workerData, 1, 1);
  Atomics.notify(workerData, 1);
  while (Atomics.load(workerData, 1) < 2) Atomics.wait(workerData, 1, 1, 1000);
}
