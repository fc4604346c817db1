/**
 * The pages of jobs in a real browser, against a fleet that runs. What started the fleet tells where it is
 * and what to run, so that nothing here knows a language:
 *
 *   FLOTILLA_URL        a gateway without keys that keeps jobs, with one slot of its own and a worker
 *   FLOTILLA_KEYED      another with keys, FLOTILLA_KEY one that submits and FLOTILLA_ADMIN an operator's
 *   FLOTILLA_STORELESS  one that keeps no jobs
 *   FLOTILLA_WORKER     the name of the worker
 *   FLOTILLA_PROGRAMS   {language, quick, waits, markup, random, refused: {…}}: what is sent as code, and a
 *                       submission that every executor refuses
 */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { called, during, fits, isAccessible, launch, LOOKS, WIDE } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const keyed = process.env.FLOTILLA_KEYED;
const storeless = process.env.FLOTILLA_STORELESS;
const worker = process.env.FLOTILLA_WORKER;
const key = process.env.FLOTILLA_KEY;
const admin = process.env.FLOTILLA_ADMIN;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

/** A page is asked anew this often, and a worker calls; a few times of it is long enough. */
const PERIOD_MS = 2500;

let browser;
/** What the tests that only look find: a job that ran, one that is dead, and one that waits for its time. */
const known = {};
before(async () => {
  browser = await launch();
  known.ran = await submit({ code: programs.markup });
  known.dead = await submit(programs.refused);
  known.scheduled = await submit({ code: programs.quick, runAt: new Date(Date.now() + 3_600_000).toISOString() });
  await state(known.ran, "succeeded");
  await state(known.dead, "dead");
});
after(() => browser.close());

const on = (path, look, options = {}) => during(browser, options.url ?? url, path, look, options);

async function ask(path, init = {}, base = url) {
  const response = await fetch(`${base}${path}`, init);
  assert.ok(response.ok, `${path}: ${response.status} ${response.ok ? "" : await response.text()}`);
  return response.json();
}

/** Leaves a job, and says which it is. */
async function submit(fields, { by, to = url } = {}) {
  const headers = { "content-type": "application/json", ...bearer(by) };
  const { id } = await ask("/v1/jobs", { method: "POST", headers, body: JSON.stringify({ language: programs.language, ...fields }) }, to);
  return id;
}

const bearer = (it) => (it ? { authorization: `Bearer ${it}` } : {});

/** Waits until a job is that far, as the API has it. */
async function state(id, wanted, { by, to = url } = {}) {
  const until = Date.now() + 60_000;
  for (;;) {
    const job = await ask(`/v1/jobs/${id}`, { headers: bearer(by) }, to);
    if (job.state === wanted) return job;
    assert.ok(Date.now() < until, `${id} is ${job.state}, not ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const row = (page, id) => page.getByRole("row").filter({ has: page.locator(`[title="${id}"]`) });
const cell = (page, id, text) => row(page, id).getByText(text, { exact: true });
const standing = (page) => page.locator(".standing-line");
const dialog = (page) => page.getByRole("dialog");

/** Gives the page a key, as somebody would. */
async function enter(page, value) {
  await page.getByLabel("API key").fill(value);
  await page.keyboard.press("Enter");
}

for (const look of LOOKS) {
  test(`the jobs are accessible, ${called(look)}`, () =>
    on(
      "/jobs",
      async (page) => {
        await row(page, known.ran).waitFor();
        await isAccessible(page, "the list");
        await fits(page, "the list");
        const wide = await page.getByRole("columnheader").evaluateAll((all) => all.filter((it) => it.scrollWidth > it.clientWidth).map((it) => it.textContent));
        // Where there is no space for them they are only said.
        if (look.viewport === WIDE) assert.deepEqual(wide, [], "headers are wider than their columns");
        await page.getByRole("button", { name: /^Actions/ }).first().click();
        await isAccessible(page, "a menu");
        await fits(page, "a menu");
        await page.keyboard.press("Escape");
        await page.goto("/jobs?state=dead&caller=*");
        await page.getByRole("button", { name: /^Redrive/ }).click();
        await dialog(page).waitFor();
        await isAccessible(page, "a question");
        await page.goto("/jobs?language=nothing");
        await page.getByRole("heading", { name: "No job is like that" }).waitFor();
        await isAccessible(page, "an empty list");
        await page.goto("/jobs?caller=nobody");
        await page.getByRole("heading", { name: "No jobs yet" }).waitFor();
        await isAccessible(page, "a page without jobs");
        await fits(page, "a page without jobs");
      },
      look,
    ));

  test(`a job is accessible, ${called(look)}`, () =>
    on(
      `/jobs/${known.ran}`,
      async (page) => {
        await page.getByRole("log").waitFor();
        await page.getByRole("heading", { name: "Submission" }).waitFor();
        await isAccessible(page, "a job");
        await fits(page, "a job");
        await page.getByRole("button", { name: "Run it again exactly" }).click();
        await page.getByRole("heading", { name: /^Run again (Same|Different)/ }).waitFor();
        await isAccessible(page, "two results");
        await fits(page, "two results");
        for (const id of [known.dead, known.scheduled]) {
          await page.goto(`/jobs/${id}`);
          await page.locator(".steps").waitFor();
          await page.getByRole("heading", { name: "Submission" }).waitFor();
          await isAccessible(page, "a job without a result");
          await fits(page, "a job without a result");
        }
      },
      look,
    ));

  test(`workers and callbacks are accessible, ${called(look)}`, () =>
    on(
      "/jobs/workers",
      async (page) => {
        await page.getByRole("heading", { name: worker }).waitFor();
        await isAccessible(page, "workers");
        await fits(page, "workers");
        await page.getByRole("link", { name: "Callbacks" }).click();
        await page.getByRole("heading", { name: "Every callback was taken" }).waitFor();
        await isAccessible(page, "callbacks");
        await fits(page, "callbacks");
      },
      look,
    ));
}

test("jobs appear and change by themselves, and are counted", () =>
  on("/jobs", async (page) => {
    await row(page, known.ran).waitFor();
    const id = await submit({ code: programs.quick });
    await cell(page, id, "Succeeded").waitFor();
    const { counts } = await ask("/v1/jobs?counts=true&limit=1");
    await page.getByRole("link", { name: `Succeeded ${counts.succeeded}`, exact: true }).waitFor();
    const { durability } = await ask("/v1/queue");
    assert.equal(durability, "power_loss");
    await page.getByText("survives loss of power").waitFor();
  }));

test("while a menu is open or a text is selected nothing moves", () =>
  on("/jobs", async (page) => {
    await row(page, known.ran).waitFor();
    await page.getByRole("button", { name: /^Actions/ }).first().click();
    await page.locator(".live-paused").waitFor();
    const id = await submit({ code: programs.quick });
    await state(id, "succeeded");
    await page.waitForTimeout(2 * PERIOD_MS);
    assert.equal(await row(page, id).count(), 0, "the list changed below an open menu");
    await page.keyboard.press("Escape");
    await row(page, id).waitFor();
    assert.ok(await page.evaluate(() => document.activeElement?.getAttribute("aria-haspopup") === "menu"), "the focus is lost");
    await page.evaluate(() => getSelection()?.selectAllChildren(document.querySelector(".job-table tbody tr .id")));
    await page.locator(".live-paused").waitFor();
    await page.evaluate(() => getSelection()?.removeAllRanges());
    await page.locator(".live-live").waitFor();
  }));

test("filters are in the address, and survive a reload and the way back", () =>
  on("/jobs", async (page) => {
    await row(page, known.ran).waitFor();
    await page.getByRole("link", { name: /^Dead \d/ }).click();
    await page.waitForURL(/state=dead/);
    await row(page, known.dead).waitFor();
    assert.equal(await row(page, known.ran).count(), 0);
    await page.keyboard.press("/");
    await page.getByLabel("Whose").and(page.locator(":focus")).waitFor();
    await page.getByLabel("Language").selectOption(programs.language);
    await page.getByLabel("Queue", { exact: true }).selectOption("default");
    await page.getByLabel("Submitted").selectOption("1h");
    await page.getByLabel("Whose").selectOption("*");
    await page.waitForURL(/caller=/);
    await page.reload();
    await row(page, known.dead).waitFor();
    assert.deepEqual(Object.fromEntries(new URL(page.url()).searchParams), {
      state: "dead",
      language: programs.language,
      queue: "default",
      within: "1h",
      caller: "*",
    });
    for (const [label, value] of [["Language", programs.language], ["Queue", "default"], ["Submitted", "1h"], ["Whose", "*"]]) {
      assert.equal(await page.getByLabel(label, { exact: true }).inputValue(), value);
    }
    await page.goBack();
    await page.waitForURL((it) => !it.searchParams.has("caller"));
    assert.equal(await page.getByLabel("Whose").inputValue(), "");
    await page.getByRole("link", { name: "Clear" }).click();
    await page.waitForURL(/\?state=dead$/);
  }));

test("older jobs are on further pages", () =>
  on("/jobs?state=cancelled", async (page) => {
    // They wait for their time, so they can be cancelled before anybody runs them.
    const runAt = new Date(Date.now() + 3_600_000).toISOString();
    const batch = { jobs: Array.from({ length: 53 }, () => ({ language: programs.language, code: programs.quick, runAt })) };
    const { jobs } = await ask("/v1/jobs", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(batch) });
    for (const { id } of jobs) await ask(`/v1/jobs/${id}`, { method: "DELETE" });
    await row(page, jobs.at(-1).id).waitFor();
    await page.getByText("50 jobs, the newest first").waitFor();
    await page.getByRole("link", { name: "Older" }).click();
    await page.waitForURL(/cursor=\d+/);
    await row(page, jobs[0].id).waitFor();
    assert.equal(await row(page, jobs.at(-1).id).count(), 0);
    await page.getByRole("link", { name: "Newest" }).click();
    await row(page, jobs.at(-1).id).waitFor();
  }));

test("a job that waits says how many are before it, and its program stops when it is cancelled", () =>
  on("/jobs", async (page) => {
    const { slots } = await ask("/v1/queue");
    const running = [];
    for (let slot = 0; slot < slots; slot += 1) running.push(await submit({ code: programs.waits, timeout: 60 }));
    for (const id of running) await state(id, "leased");
    const [next, last] = [await submit({ code: programs.quick }), await submit({ code: programs.quick })];
    await page.goto(`/jobs/${last}`);
    await standing(page).getByText(/^1 job is before it/).waitFor();
    await ask(`/v1/jobs/${next}`, { method: "DELETE" });
    await standing(page).getByText(/^It is next/).waitFor();

    await page.goto(`/jobs/${running[0]}`);
    await standing(page).getByText("Leased").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await dialog(page).getByText("Its program is stopped").waitFor();
    await page.keyboard.press("Escape");
    await dialog(page).waitFor({ state: "hidden" });
    assert.equal((await ask(`/v1/jobs/${running[0]}`)).state, "leased", "it was cancelled though nobody said so");
    const focused = await page.evaluate(() => document.activeElement?.textContent);
    assert.equal(focused, "Cancel", "the focus is not where it was");
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Cancel the job" }).click();
    await standing(page).getByText("Cancelled").waitFor();
    await page.getByRole("status").filter({ hasText: /^The job is cancelled/ }).waitFor();
    await state(last, "succeeded");
    for (const id of running.slice(1)) await ask(`/v1/jobs/${id}`, { method: "DELETE" });
  }));

test("a dead job is redriven, alone and with all that are shown", () =>
  on(`/jobs/${known.dead}`, async (page) => {
    const attempts = async (id) => (await ask(`/v1/jobs/${id}`)).attempts.length;
    const before = await attempts(known.dead);
    await page.getByText("A dead job has no result").waitFor();
    await page.getByRole("button", { name: "Redrive" }).click();
    // What it is refused for is still there, so it dies again, and the page follows it there.
    await page.locator(".steps").getByText(`Attempt ${before + 1}`).waitFor();
    await standing(page).getByText("Dead").waitFor();

    const other = await submit(programs.refused);
    await state(other, "dead");
    await page.goto("/jobs?state=dead&within=1h");
    await page.getByRole("button", { name: `Actions for job ${other.slice(-12)}` }).click();
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    await page.getByText("The job is ready again").first().waitFor();
    await state(other, "dead");
    await row(page, other).waitFor();
    const shown = await page.getByRole("row").count() - 1;
    await page.getByRole("button", { name: `Redrive all ${shown} shown` }).click();
    await page.getByRole("button", { name: "Redrive them" }).click();
    await page.getByText(`${shown} jobs are ready again`).first().waitFor();
    await state(other, "dead");
    assert.equal(await attempts(other), 3);
    assert.equal(await attempts(known.dead), before + 2);
  }));

test("a job is run again, and both results are side by side", () =>
  on(`/jobs/${known.ran}`, async (page) => {
    await page.getByRole("button", { name: "Run it again exactly" }).click();
    await page.getByRole("heading", { name: "Run again Same" }).waitFor();
    await page.waitForURL(/again=/);
    const again = new URL(page.url()).searchParams.get("again");
    const [first, second] = [await ask(`/v1/jobs/${known.ran}/submission`), await ask(`/v1/jobs/${again}/submission`)];
    assert.deepEqual(first, second);
    assert.equal(await page.locator(".again-side").getByRole("log").count(), 2);

    const random = await submit({ code: programs.random });
    await state(random, "succeeded");
    await page.goto(`/jobs/${random}`);
    await page.getByRole("button", { name: "Run it again exactly" }).click();
    await page.getByText("The output differs from line 2 on.").first().waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Run again Different" }).waitFor();
    await page.getByRole("button", { name: "Close the comparison" }).click();
    await page.waitForURL((it) => it.search === "");
  }));

test("what a program wrote is text in its colours, and it can be had as curl and in the playground", () =>
  on(`/jobs/${known.ran}`, async (page) => {
    const log = page.getByRole("log");
    await log.getByText("<img src=x onerror=alert(1)>").waitFor();
    assert.equal(await log.locator("img, script").count(), 0);
    assert.equal(await log.locator(".fg-1").innerText(), "red");
    await page.getByRole("button", { name: "Copy as curl" }).click();
    await page.getByText("The request is copied").first().waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.startsWith(`curl -s ${url}/v1/jobs `), copied);
    await page.getByRole("button", { name: "Open in playground" }).click();
    await page.waitForURL(/\/play/);
    await page.locator(".cm-content").getByText("onerror").waitFor();
  }));

test("a worker is drained and resumed", () =>
  on("/jobs/workers", async (page) => {
    const card = page.locator(".worker", { has: page.getByRole("heading", { name: worker }) });
    await card.getByText(/^Takes jobs/).waitFor();
    await card.getByRole("button", { name: "Drain" }).click();
    await page.getByRole("button", { name: "Leave it" }).click();
    await dialog(page).waitFor({ state: "hidden" });
    await card.getByRole("button", { name: "Drain" }).click();
    await page.getByRole("button", { name: "Drain it" }).click();
    await card.getByText(/^Drains:/).waitFor();
    const { workers } = await ask("/v1/workers");
    assert.equal(workers.find((it) => it.id.endsWith(`:${worker}`)).state, "draining");
    await card.getByRole("button", { name: "Resume" }).click();
    await card.getByText(/^Takes jobs/).waitFor();
  }));

test("who has no admin key is refused, and told what to do", () =>
  on(
    "/jobs",
    async (page) => {
      const own = await submit({ code: programs.quick }, { by: key, to: keyed });
      const others = await submit({ code: programs.quick }, { by: admin, to: keyed });
      await enter(page, key);
      await row(page, own).waitFor();
      assert.equal(await row(page, others).count(), 0);
      await page.getByLabel("Whose").selectOption("*");
      await page.getByText(/it takes one with the role `?admin/).waitFor();
      await page.getByText("role=admin").waitFor();
      await isAccessible(page, "a refusal");
      await page.getByRole("link", { name: "Workers" }).click();
      await page.getByRole("heading", { name: "The workers cannot be shown" }).waitFor();
      await page.goto(`/jobs/${others}`);
      await page.getByText(/There is no such job/).waitFor();
      // With an operator's key everybody's are there, each with the name of its key.
      await page.goto("/jobs?caller=*");
      await page.getByRole("button", { name: "Use another key" }).click();
      await enter(page, admin);
      await row(page, own).getByText("ada").waitFor();
      await row(page, others).getByText("ops").waitFor();
      await page.getByLabel("Whose").selectOption("ada");
      await page.waitForURL(/caller=ada/);
      await row(page, others).waitFor({ state: "detached" });
    },
    { url: keyed, expects: [/401/, /403/, /404/] },
  ));

test("who has no admin key is refused an act as well, and told what helps", () =>
  on(
    undefined,
    async (page) => {
      const others = await submit(programs.refused, { by: admin, to: keyed });
      await state(others, "dead", { by: admin, to: keyed });
      // As a page that was filled while there was another key: what it asks is answered, what it does is refused.
      const { workers } = await ask("/v1/workers");
      const asAdmin = (route) => (route.request().method() === "GET" ? route.continue({ headers: { ...route.request().headers(), ...bearer(admin) } }) : route.continue());
      await page.route("**/v1/workers", (route) => route.fulfill({ json: { workers } }));
      await page.route(`**/v1/jobs/${others}**`, asAdmin);
      await page.goto("/jobs");
      await enter(page, key);
      await page.getByRole("link", { name: "Workers" }).click();
      await page.getByRole("button", { name: "Drain" }).click();
      await page.getByRole("button", { name: "Drain it" }).click();
      await page.getByText(/^It was not drained: .*admin/).first().waitFor();
      await page.getByText(/Give a key with the role admin instead of this one/).waitFor();
      await isAccessible(page, "a drain that is refused");
      await page.goto(`/jobs/${others}`);
      await page.getByRole("button", { name: "Redrive" }).click();
      await page.getByText(/^It was not redriven: /).first().waitFor();
      await page.getByText(/it is somebody else’s: a key with the role admin sees everybody’s/).waitFor();
      await isAccessible(page, "a redrive that is refused");
      await fits(page, "a redrive that is refused");
      const { attempts } = await ask(`/v1/jobs/${others}`, { headers: bearer(admin) }, keyed);
      assert.equal((await state(others, "dead", { by: admin, to: keyed })).attempts.length, attempts.length);
    },
    { url: keyed, expects: [/401/, /403/, /404/] },
  ));

test("where no jobs are kept the page says how to get a store", () =>
  on(
    "/jobs",
    async (page) => {
      await page.getByRole("heading", { name: "This gateway keeps no jobs" }).waitFor();
      await page.getByText("GATEWAY_STORE_URL=sqlite:").waitFor();
      await isAccessible(page, "a page without a store");
    },
    { url: storeless, expects: [/503/] },
  ));

test("a page without jobs says how to submit one", () =>
  on("/jobs?caller=nobody", async (page) => {
    await page.getByRole("heading", { name: "No jobs yet" }).waitFor();
    await page.getByRole("button", { name: "Copy" }).click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.startsWith(`curl -s ${url}/v1/jobs `), copied);
  }));
