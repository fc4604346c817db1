/**
 * Has a fleet do what a fleet does, for ten minutes: programs in every language, jobs of every state.
 *
 *   node tests/browser/seed.mjs URL
 */
const [url] = process.argv.slice(2);
const SECONDS = 600;

async function ask(path, body) {
  const init = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`${url}${path}`, init);
  return response.json();
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const chance = (count) => Math.floor(Math.random() * count);

const { languages } = await ask("/v1/languages");
const end = Date.now() + SECONDS * 1000;
await Promise.all(
  languages.map(async ({ id, example }) => {
    while (Date.now() < end) {
      await ask("/v1/execute", { language: id, code: example });
      await pause(500 + chance(4000));
    }
  }),
);

const python = (code, more = {}) => ({ language: "python", code, ...more });
const primes = (most) => `limit = ${most}\nprimes = [n for n in range(2, limit) if all(n % d for d in range(2, int(n ** 0.5) + 1))]\nprint(len(primes), "primes below", limit)\nprint("the last:", primes[-1])\n`;
const jobs = [
  ...[100, 1000, 5000, 20_000].map((most) => python(primes(most))),
  ...languages.map(({ id, example }) => ({ language: id, code: example })),
  python("print(open('results.csv').read())\n"),
  python("import time\ntime.sleep(600)\n", { timeout: 1 }),
  python("print('built')\n", { callbackUrl: "http://127.0.0.1:9/builds" }),
  python("print('checked')\n", { callbackUrl: "http://127.0.0.1:9/checks" }),
  python("print('refused')\n", { compilerOptions: ["--nonsense"] }),
  python("print('good morning')\n", { runAt: new Date(Date.now() + 8 * 3600_000).toISOString() }),
];
for (const job of jobs) {
  await ask("/v1/jobs", job);
  await pause(250);
}
await pause(8000);
await ask("/v1/jobs", python("import time\nfor minute in range(10):\n    print('step', minute, flush=True)\n    time.sleep(60)\n", { timeout: 600 }));
await pause(2000);
