/**
 * The console in a real browser, against a fleet that runs. What started the fleet tells where it is and
 * which programs to write, so that nothing here knows a language:
 *
 *   FLOTILLA_URL       a gateway without keys
 *   FLOTILLA_KEYED     another with keys, FLOTILLA_KEY one of them
 *   FLOTILLA_PUBLIC    one with keys whose fleet anybody may look at
 *   FLOTILLA_PROGRAMS  {language, waits, markup, broken: {source, line}, picture, args, input, two: {main, other}}
 */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { called, fits, isAccessible, launch, LOOKS, visit, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const keyed = process.env.FLOTILLA_KEYED;
const open = process.env.FLOTILLA_PUBLIC;
const key = process.env.FLOTILLA_KEY;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

/** What a first visit may load, compressed, in bytes. */
const BUDGETS = { "/": 200 << 10, "/play": 350 << 10 };

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Visits a page, lets `look` have it, and fails for whatever the page should not have done. */
async function on(path, look, options = {}) {
  const { page, context, faults } = await visit(browser, options.url ?? url, path, options);
  try {
    await look(page, context);
    assert.deepEqual(faults, [], "the page did what it must not");
  } finally {
    await context.close();
  }
}

const run = (page) => page.getByRole("button", { name: /^Run/ });
const log = (page) => page.getByRole("log");

async function atDesk(page) {
  await page.locator(".cm-content").waitFor();
  await page.getByLabel("Language", { exact: true }).selectOption(programs.language);
}

for (const look of LOOKS) {
  test(`the fleet is accessible, ${called(look)}`, () =>
    on(
      "/",
      async (page) => {
        await page.locator(".executor").first().waitFor();
        await isAccessible(page, "the fleet");
        await fits(page, "the fleet");
        for (const button of await page.locator(".disclose").all()) await button.click();
        await page.getByRole("button", { name: /^Hide everything/ }).first().waitFor();
        await page.locator(".guarantees").first().waitFor();
        await isAccessible(page, "an executor");
        await fits(page, "an executor");
      },
      look,
    ));

  test(`the playground is accessible, ${called(look)}`, () =>
    on(
      "/play",
      async (page) => {
        await atDesk(page);
        await isAccessible(page, "the playground");
        await fits(page, "the playground");
        await run(page).click();
        await page.locator(".results").waitFor();
        await isAccessible(page, "a result");
        await fits(page, "a result");
      },
      look,
    ));

  test(`what is nowhere is accessible, ${called(look)}`, () =>
    on(
      "/no/such/place",
      async (page) => {
        await page.getByRole("heading", { name: "Nothing is here" }).waitFor();
        await isAccessible(page, "the page of nothing");
      },
      look,
    ));
}

test("the fleet shows what the gateway says of each executor", () =>
  on("/", async (page) => {
    const told = await (await page.request.get("/v1/fleet")).json();
    await page.locator(".executor").first().waitFor();
    assert.equal(await page.locator(".executor").count(), told.executors.length);
    for (const executor of told.executors) {
      const card = page.locator(".executor", { has: page.getByRole("heading", { name: executor.label }) });
      if (!executor.info) continue;
      const { rung, level, guarantees } = executor.info.isolation;
      await card.getByText(`L${rung} ${level}`).first().waitFor();
      await card.getByRole("button").click();
      assert.equal(await card.locator(".guarantees li").count(), guarantees.length);
    }
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

test("a program is written and run with the keyboard alone", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await page.keyboard.press("Tab");
    await page.locator(".cm-content").focus();
    await page.keyboard.press("ControlOrMeta+Enter");
    await page.locator(".results").waitFor();
    await page.getByRole("status").filter({ hasText: /Run finished: Success, exit code 0/ }).waitFor();
    // Esc and then Tab lead out of the editor, where Tab alone indents.
    await page.locator(".cm-content").focus();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    const isInside = await page.evaluate(() => document.activeElement?.classList.contains("source"));
    assert.equal(isInside, false, "the editor keeps the focus");
  }));

test("output comes as it is written, and Stop stops the program", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.waits);
    await run(page).click();
    await log(page).getByText("begun").waitFor();
    await page.getByRole("button", { name: /^Stop/ }).click();
    await page.getByText("Stopped", { exact: true }).waitFor();
    // The executor hears of it: its slot is free again long before the program would have ended.
    const isFree = async () => {
      const { executors } = await (await page.request.get("/v1/fleet")).json();
      return executors.every((it) => it.inFlight === 0 && it.slotsFree === it.slots);
    };
    const until = Date.now() + 15_000;
    while (!(await isFree())) assert.ok(Date.now() < until, "the program still runs");
  }));

test("what a program writes is text, whatever it looks like", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.markup);
    await run(page).click();
    await page.locator(".results").waitFor();
    assert.match(await log(page).innerText(), /<img src=x onerror=alert\(1\)>/);
    assert.equal(await log(page).locator("img, script").count(), 0);
    assert.equal(await log(page).locator(".fg-1").innerText(), "red");
  }));

test("what is wrong with a program is shown at its line, and leads there", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.broken.source);
    await page.locator(".cm-lintRange-error").first().waitFor();
    await page.getByText(/^\d+ errors?/).waitFor();
    await isAccessible(page, "a complaint");
    await run(page).click();
    await log(page).locator("button").first().click();
    const line = new RegExp(`^${programs.broken.line}$`);
    await page.locator(".cm-activeLineGutter").filter({ hasText: line }).waitFor();
  }));

test("a shared program arrives whole, and yields to what was there", () =>
  on("/play", async (page, context) => {
    await atDesk(page);
    await write(page, programs.args);
    if (!(await page.getByLabel("Arguments").isVisible())) await page.getByText("Input, arguments, limits").click();
    await page.getByLabel("Arguments").fill("one 'two words'");
    await page.getByLabel("Standard input").fill("three\n");
    await page.getByRole("button", { name: "Share" }).click();
    const link = await page.locator(".popover input").inputValue();
    assert.ok(link.startsWith(`${url}/play#program=`) && link.length < 8192, link);
    const { page: other, context: theirs, faults } = await visit(browser, url, link.slice(url.length));
    await run(other).click();
    await other.locator(".results").waitFor();
    assert.equal((await log(other).innerText()).trim(), "one two words three");
    assert.equal(new URL(other.url()).hash, "");
    assert.deepEqual(faults, []);
    await theirs.close();
    // Here, where there is a program already, it can be had back.
    await write(page, programs.markup);
    await page.evaluate((it) => {
      location.hash = it;
    }, new URL(link).hash);
    await page.getByRole("button", { name: "Put mine back" }).click();
    await page.locator(".cm-content").getByText("onerror").waitFor();
    assert.equal(context.pages().length, 1);
  }));

test("what is written survives a reload, for each language", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.markup);
    const others = await page.getByLabel("Language", { exact: true }).locator("option").evaluateAll((all) => all.map((it) => it.value));
    const other = others.find((it) => it !== programs.language);
    if (other) {
      await page.getByLabel("Language", { exact: true }).selectOption(other);
      await page.locator(".cm-content").getByText("onerror").waitFor({ state: "hidden" });
    }
    await page.reload();
    await page.locator(".cm-content").waitFor();
    if (other) assert.equal(await page.getByLabel("Language", { exact: true }).inputValue(), other);
    await page.getByLabel("Language", { exact: true }).selectOption(programs.language);
    await page.locator(".cm-content").getByText("onerror").waitFor();
  }));

test("files are added, named, left and deleted", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.two.main);
    await page.getByRole("button", { name: "Add a file" }).click();
    const name = page.getByLabel("Name of the file");
    await name.fill("../outside");
    await page.keyboard.press("Enter");
    await page.getByText(/A name is relative/).waitFor();
    await name.fill(programs.two.path);
    await page.keyboard.press("Enter");
    await page.getByRole("tab", { name: programs.two.path, selected: true }).waitFor();
    await write(page, programs.two.other);
    await isAccessible(page, "several files");
    await run(page).click();
    await page.locator(".results").waitFor();
    assert.equal((await log(page).innerText()).trim(), "from the other file");
    await page.getByRole("tab", { name: programs.two.path }).focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.getByRole("tab", { selected: true }).innerText(), await page.getByRole("tab").first().innerText());
    await page.getByRole("tab", { name: programs.two.path }).click();
    await page.getByRole("button", { name: `Delete ${programs.two.path}` }).click();
    assert.equal(await page.getByRole("tab").count(), 1);
  }));

test("a picture that a program leaves is shown, and can be kept", () =>
  on("/play", async (page) => {
    await atDesk(page);
    await write(page, programs.picture);
    await run(page).click();
    const picture = page.locator(".brought img");
    await picture.waitFor();
    assert.ok(await picture.evaluate((it) => it.decode().then(() => it.naturalWidth > 0)));
    const download = page.waitForEvent("download");
    await page.locator(".brought a").click();
    assert.equal((await download).suggestedFilename(), "dot.svg");
    await isAccessible(page, "a picture");
  }));

test("the examples of the fleet are in the list, and a run can be had as curl", () =>
  on("/play", async (page) => {
    await atDesk(page);
    const examples = page.getByLabel("Examples");
    assert.ok((await examples.locator("option").count()) > 2);
    await examples.selectOption({ index: 2 });
    await run(page).click();
    await page.getByRole("button", { name: "Copy as curl" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.startsWith(`curl -sN ${url}/v1/execute`), copied);
  }));

test("a key is asked for, kept in this tab alone, and sent", () =>
  on(
    "/play",
    async (page, context) => {
      const field = page.getByLabel("API key");
      await field.waitFor();
      await isAccessible(page, "the question for a key");
      await field.fill("not-the-right-key-0");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "That API key is not known here" }).waitFor();
      await field.fill(key);
      await page.keyboard.press("Enter");
      await atDesk(page);
      await run(page).click();
      await page.locator(".results").waitFor();
      const kept = await page.evaluate(() => JSON.stringify(localStorage) + document.cookie + location.href);
      assert.ok(!kept.includes(key), "the key is kept beyond this tab");
      await page.getByRole("link", { name: "Fleet" }).click();
      await page.locator(".executor").first().waitFor();
      const other = await context.newPage();
      await other.goto("/");
      await other.getByLabel("API key").waitFor();
    },
    { url: keyed, expects: [/401/] },
  ));

test("where the console is public the fleet is seen without a key, and nothing is run", () =>
  on(
    "/",
    async (page) => {
      await page.locator(".executor").first().waitFor();
      await page.getByRole("link", { name: "Playground" }).click();
      await page.getByLabel("API key").waitFor();
    },
    { url: open, expects: [/401/] },
  ));

test("a chosen theme is there before anything is drawn", () =>
  on(
    "/",
    async (page) => {
      const button = page.getByRole("button", { name: /^Theme/ });
      while (!/Theme: light/.test((await button.getAttribute("aria-label")) ?? "")) await button.click();
      await page.addInitScript(() => {
        document.addEventListener("readystatechange", () => {
          globalThis.early ??= document.documentElement.dataset.theme;
        });
      });
      await page.reload();
      assert.equal(await page.evaluate(() => globalThis.early), "light");
      const ground = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      assert.equal(ground, "rgb(246, 247, 249)");
    },
    { scheme: "dark" },
  ));

for (const [path, budget] of Object.entries(BUDGETS)) {
  test(`${path} loads no more than ${budget >> 10} KB`, () =>
    on(path, async (page) => {
      await page.locator(path === "/" ? ".executor" : ".cm-content").first().waitFor();
      const loaded = await page.evaluate(() => {
        const own = (it) => it.name.includes("/assets/") || it.entryType === "navigation";
        const all = [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].filter(own);
        return { bytes: all.reduce((sum, it) => sum + it.encodedBodySize, 0), plain: all.reduce((sum, it) => sum + it.decodedBodySize, 0) };
      });
      console.log(`${path} loads ${Math.round(loaded.bytes / 1024)} KB, ${Math.round(loaded.plain / 1024)} KB uncompressed`);
      assert.ok(loaded.bytes > 0 && loaded.bytes < budget, `${loaded.bytes} bytes`);
      assert.ok(loaded.bytes < loaded.plain / 2, "it is not compressed");
    }));
}
