/**
 * The fleet's page in a real browser, against a fleet that runs; what it is told is in `suite.mjs`, and
 *
 *   FLOTILLA_PROGRAMS  {language, fails}
 */
import assert from "node:assert/strict";
import test from "node:test";

import { fits, inBrowser, isAccessible, isTime, until } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

const on = inBrowser(url);

const COUNT = { "10m": 60, "1h": 60, "24h": 96, "7d": 84 };
const HEALTH = { pass: "Up", warn: "Wants a look", fail: "Down" };
const STRIP = ["pass", "warn", "fail", "none"];

const words = (name) => name.replaceAll("_", " ");
/** A number as the page groups it. */
const count = (number) => number.toLocaleString("en-GB").replaceAll(",", "\u202f");
const sum = (numbers) => numbers.reduce((all, it) => all + it, 0);
const cardOf = (page, label) => page.locator(".executor", { has: page.getByRole("heading", { name: label, exact: true }) });

/** Has each language do something, so that there is something to tell. */
async function work(page) {
  const { languages } = await (await page.request.get("/v1/languages")).json();
  for (const { id, example } of languages) await page.request.post("/v1/execute", { data: { language: id, code: example } });
  await page.request.post("/v1/execute", { data: { language: programs.language, code: programs.fails } });
}

/** Lets the page have one answer of the gateway and one time for ever, changed as it is wanted, and says what they are. */
async function held(page, change = () => {}) {
  let told;
  const now = Date.now();
  await page.clock.setFixedTime(now);
  await page.route("**/v1/fleet*", async (route) => {
    if (!told) {
      const { "if-none-match": _, ...headers } = route.request().headers();
      told = await (await route.fetch({ headers })).json();
      change(told);
    }
    await route.fulfill({ json: told });
  });
  await page.goto("/");
  await page.locator(".executor").first().waitFor();
  return { ...told, now };
}

/** What the strip should show: a step is as its worst, but a single miss among many is a warning. */
function beatsOf({ window, from, stepSeconds }, points) {
  const byTime = new Map(points.map((it) => [it.at, it.beats]));
  const steps = Array.from({ length: COUNT[window] }, (_, index) => byTime.get(from + index * stepSeconds));
  return steps.map((it) => {
    const all = it ? it.pass + it.warn + it.fail : 0;
    if (all === 0) return "none";
    if (it.fail * 2 > all) return "fail";
    return it.fail + it.warn > 0 ? "warn" : "pass";
  });
}

const strip = (card) => card.locator(".strip rect").evaluateAll((all) => all.map((it) => it.getAttribute("class").replace("beat beat-", "")));
/** The terms of a list, each with all that is said of it. */
async function listed(list) {
  const rows = await list.locator("> div").evaluateAll((all) => all.map((it) => [...it.children].map((part) => part.textContent.trim())));
  return Object.fromEntries(rows.map(([name, ...rest]) => [name, rest.join(" ")]));
}

async function isTold(page, executor, fleet) {
  const card = cardOf(page, executor.label);
  const { history, info } = executor;
  const name = await card.locator(".executor-name").innerText();
  assert.ok(name.includes(`${HEALTH[executor.status]} for `), name);
  isTime(/ for (.*)/.exec(name)[1], fleet.now - Date.parse(executor.since), "since when");
  assert.ok(name.includes(info.languages.join(", ")) && name.includes(info.runtimes[0].version), name);
  const beats = await strip(card);
  assert.deepEqual(beats, beatsOf(fleet, history.points), "the strip");
  assert.ok(beats.every((it) => STRIP.includes(it)));
  const { pass, warn, fail } = history.beats;
  const share = /up ([\d.]+) %/.exec(await card.locator(".strip-legend").innerText())[1];
  assert.ok(Math.abs(Number(share) - ((pass + warn) / (pass + warn + fail)) * 100) <= 0.1, share);
  const numbers = await listed(card.locator(".executor-numbers"));
  for (const name of ["p50", "p95", "p99"]) isTime(numbers[name], history.latencyMs[name], name);
  const split = await card.locator(".split").textContent();
  isTime(/waits (.*) runs/s.exec(split)[1], history.queueMs.p95 <= 0.3 ? 0 : history.queueMs.p95, "waits");
  isTime(/runs (.*)/.exec(split)[1], history.runMs.p95, "runs");
  const slots = (await card.locator(".slots").textContent()).trim();
  assert.equal(slots, `${executor.slotsFree} of ${executor.slots} free${executor.waiting ? `, ${executor.waiting} wait` : ""}`);
  assert.equal((await card.locator(".executor-end .badge").innerText()).trim(), `L${info.isolation.rung} ${info.isolation.level}`);
}

async function isToldWhole(page, executor) {
  const card = cardOf(page, executor.label);
  const { history, info } = executor;
  await card.getByRole("button", { name: /^Show everything/ }).click();
  const statuses = await card.locator(".statuses li").evaluateAll((all) => all.map((it) => [...it.querySelectorAll(":scope > span:not([aria-hidden])")].map((part) => part.textContent)));
  const expected = [...history.statuses].sort((a, b) => b.count - a.count);
  assert.deepEqual(statuses, expected.map((it) => [words(it.status), count(it.count)]));
  const facts = await listed(card.locator(".facts"));
  assert.equal(facts.Versions, info.runtimes.map((it) => it.version).join(", "));
  assert.equal(facts.Circuit, words(executor.circuit));
  assert.equal(facts["Runs of ours"], String(executor.inFlight));
  isTime(facts["Last probe"], executor.probeMs, "the last probe");
  assert.match(facts.Samples, new RegExp(`${info.samplesPassed} passed$`));
  const { rung, level, minimum, guarantees, raise, selfTest } = info.isolation;
  await card.getByRole("heading", { name: `Isolation: L${rung} ${level} (refuses to start below ${minimum})` }).waitFor();
  const rows = await card.locator(".guarantees li").evaluateAll((all) => all.map((it) => [...it.children].map((part) => part.textContent)));
  assert.deepEqual(rows, guarantees.map((it) => [words(it.name), it.strength, it.mechanism]));
  assert.equal(await card.getByRole("heading", { name: "Why not more" }).count(), raise.length > 0 ? 1 : 0);
  if (selfTest) await card.getByText(selfTest.passed ? /every promise held\.$/ : /a promise was broken/).waitFor();
}

test("each executor's card says what the gateway says of it", () =>
  on(undefined, async (page) => {
    await work(page);
    const told = await held(page);
    assert.equal(await page.locator(".executor").count(), told.executors.length);
    for (const executor of told.executors) {
      await isTold(page, executor, told);
      await isToldWhole(page, executor);
    }
    assert.ok(told.executors.some((it) => it.history.statuses.length > 1), "nothing failed that should");
  }));

test("the gateway's card says what it does", () =>
  on(undefined, async (page) => {
    await work(page);
    const { gateway, executors, now } = await held(page);
    const card = page.locator(".gateway");
    assert.equal((await card.getByRole("heading").textContent()).trim(), `Gateway ${gateway.version}`);
    const tiles = await listed(card.locator(".tiles"));
    isTime(tiles["Up for"].split(" since ")[0], now - Date.parse(gateway.startedAt), "up for");
    assert.equal(tiles["Runs now"], `${count(sum(executors.map((it) => it.inFlight)))} none waits for a slot`);
    const runs = sum(executors.flatMap((it) => it.history.statuses.map((status) => status.count)));
    assert.equal(tiles.Runs, `${count(runs)} in the last hour`);
    assert.ok(runs > 0);
    const { ready, scheduled, dead } = gateway.jobs.counts;
    assert.ok(tiles["Jobs waiting"].startsWith(count(ready + scheduled)), JSON.stringify(tiles));
    assert.equal(tiles["Jobs waiting"].includes("dead"), dead > 0);
    assert.ok(tiles["Job store"].startsWith("Well"), JSON.stringify(tiles));
    assert.ok(tiles.Workers.startsWith(count(gateway.workers)), JSON.stringify(tiles));
  }));

test("what is not as it should be is told with its reasons", () =>
  on(undefined, async (page) => {
    const reasons = ["allow unprivileged user namespaces: sysctl -w kernel.unprivileged_userns_clone=1", "start it as root"];
    const told = await held(page, ({ gateway, executors }) => {
      const [{ info, history }] = executors;
      Object.assign(executors[0], { status: "fail", output: "connection refused", circuit: "half_open", slotsFree: 0, slotsQuarantined: 1, waiting: 1234 });
      Object.assign(info, { samplesFailed: 2, notes: ["the clock of this machine is wrong"] });
      Object.assign(info.isolation, { level: "confined", rung: 3, raise: reasons, selfTest: { passed: false, time: executors[0].since, attempts: 7 } });
      Object.assign(info.isolation.guarantees[0], { strength: "watched" });
      Object.assign(info.isolation.guarantees[1], { strength: "none" });
      Object.assign(history.points.at(-1).beats, { pass: 1, warn: 0, fail: 1 });
      Object.assign(gateway, { status: "warn", draining: true, workers: 2 });
      Object.assign(gateway.jobs, { well: false, counts: { scheduled: 1, ready: 1200, leased: 1, dead: 3, oldestReadyMs: 61_000 } });
    });
    const [executor] = told.executors;
    const card = cardOf(page, executor.label);
    await card.getByText("Connection refused.", { exact: true }).waitFor();
    assert.match(await card.locator(".executor-name").innerText(), /Down for /);
    assert.equal((await card.locator(".slots").textContent()).trim(), `0 of ${executor.slots} free, 1\u202f234 wait`);
    assert.ok((await strip(card)).includes("warn"));
    await isToldWhole(page, executor);
    assert.deepEqual(await card.getByRole("heading", { name: "Why not more" }).locator("+ ul li").allInnerTexts(), ["Allow unprivileged user namespaces: sysctl -w kernel.unprivileged_userns_clone=1.", "Start it as root."]);
    await card.getByText("The clock of this machine is wrong.").waitFor();
    await card.getByText("2 failed,").waitFor();
    const gateway = page.locator(".gateway");
    await gateway.getByText("drains", { exact: true }).waitFor();
    await gateway.getByText("1\u202f201").waitFor();
    await gateway.getByText("1 running · 3 dead · oldest 1 min").waitFor();
    await gateway.getByText("jobs cannot be kept now").waitFor();
    await page.locator(".verdict").getByText(/can be reached|are up$/).waitFor();
    await isAccessible(page, "an executor that is down");
    await fits(page, "an executor that is down");
  }));

test("the history is the same after a reload", () =>
  on(undefined, async (page) => {
    await work(page);
    const shown = async () => {
      await page.locator(".executor").first().waitFor();
      for (const button of await page.locator(".disclose").all()) await button.click();
      await page.locator(".statuses").first().waitFor();
      const steps = page.locator(".strip").first().locator("rect:not(.beat-none)");
      return {
        counts: await page.locator(".statuses").allInnerTexts(),
        numbers: await page.locator(".executor-numbers").allInnerTexts(),
        // The newest step still changes.
        steps: (await steps.evaluateAll((all) => all.map((it) => `${it.getAttribute("class")} ${it.textContent}`))).slice(0, -1),
      };
    };
    await page.goto("/?window=10m");
    await until(async () => (await page.locator(".strip").first().locator("rect:not(.beat-none)").count()) > 2, "some steps of the history");
    const before = await shown();
    await page.reload();
    const after = await shown();
    assert.ok(before.counts.length > 0 && before.steps.length > 0);
    assert.deepEqual(after.counts, before.counts);
    assert.deepEqual(after.numbers, before.numbers);
    for (const step of before.steps) assert.ok(after.steps.includes(step), `${step} is not among ${after.steps.join("\n")}`);
  }));

test("how far back the fleet looks is in the address", () =>
  on("/?window=24h", async (page) => {
    await page.locator(".executor").first().waitFor();
    assert.ok(await page.getByRole("radio", { name: "24 h" }).isChecked());
    await page.getByRole("radio", { name: "10 min" }).focus();
    await page.keyboard.press("Space");
    await page.waitForURL(/window=10m/);
    await page.getByText("of the last 10 minutes").waitFor();
    await page.reload();
    await page.locator(".executor").first().waitFor();
    assert.ok(await page.getByRole("radio", { name: "10 min" }).isChecked());
    await page.getByRole("link", { name: "Fleet", exact: true }).click();
    assert.ok(await page.getByRole("radio", { name: "1 h", exact: true }).isChecked());
    await page.getByText("of the last hour").waitFor();
    await page.goBack();
    await page.getByText("of the last 10 minutes").waitFor();
  }));

test("the page says that it is stale, and is live again by itself", () =>
  on(
    "/",
    async (page, context) => {
      await page.getByText("Live", { exact: false }).first().waitFor();
      await context.setOffline(true);
      await page.getByText(/^Stale since \d\d:\d\d:\d\d/).waitFor();
      await isAccessible(page, "a stale page");
      await context.setOffline(false);
      await page.locator(".live-live").waitFor();
    },
    { expects: [/ERR_INTERNET_DISCONNECTED/] },
  ));
