/**
 * What holds for every page of the console, in a real browser against a fleet that runs; each page has a suite of
 * its own. What started the fleet tells where it is and which programs to write, so that nothing here knows a
 * language:
 *
 *   FLOTILLA_URL       a gateway without keys
 *   FLOTILLA_KEYED     another with keys, FLOTILLA_KEY one of them
 *   FLOTILLA_PUBLIC    one with keys whose fleet anybody may look at
 *   FLOTILLA_PROGRAMS  {language, broken: {source, line}}
 */
import assert from "node:assert/strict";
import test from "node:test";

import { atDesk, called, fits, inBrowser, isAccessible, isAtRest, keepsStill, LOOKS, runButton, until } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const keyed = process.env.FLOTILLA_KEYED;
const open = process.env.FLOTILLA_PUBLIC;
const key = process.env.FLOTILLA_KEY;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

/** What a first visit may load, compressed, in bytes. */
const BUDGETS = { "/": 150 << 10, "/play": 350 << 10 };

const on = inBrowser(url);

/** Until the page to try the API knows the fleet and its languages. */
async function atDocs(page) {
  await page.locator("#executors tr").first().waitFor();
  await page.locator("#operations dt").first().waitFor();
  await page.getByLabel("Language").selectOption(programs.language);
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
        await atDesk(page, programs.language);
        await isAccessible(page, "the playground");
        await fits(page, "the playground");
        await runButton(page).click();
        await page.locator(".results").waitFor();
        await isAccessible(page, "a result");
        await fits(page, "a result");
      },
      look,
    ));

  test(`the page to try the API is accessible, ${called(look)}`, () =>
    on(
      "/docs",
      async (page) => {
        await atDocs(page);
        await isAccessible(page, "the page to try the API");
        await fits(page, "the page to try the API");
        await page.getByText("Answer", { exact: true }).click();
        await page.getByRole("button", { name: "Run" }).click();
        await page.locator("#status.pass").waitFor();
        await isAccessible(page, "a run of the API");
        await fits(page, "a run of the API");
        await page.getByLabel("Program").fill(programs.broken.source);
        await page.getByRole("button", { name: "Validate" }).click();
        await page.locator("#status.fail").waitFor();
        await page.locator("#output .stderr").first().waitFor();
        await page.locator("#executors td").nth(1).evaluate((it) => it.classList.replace("pass", "warn"));
        await isAccessible(page, "a refusal of the API");
        await fits(page, "a refusal of the API");
      },
      look,
    ));

  test(`the list of keys is accessible, ${called(look)}`, () =>
    on(
      "/play",
      async (page) => {
        await atDesk(page, programs.language);
        const list = page.getByRole("dialog", { name: "Keyboard shortcuts" });
        await page.locator(".cm-content").click();
        await page.keyboard.type("?");
        await page.locator(".cm-content").getByText("?").first().waitFor();
        const button = page.getByRole("button", { name: "Keyboard shortcuts" });
        await button.focus();
        await page.keyboard.press("?");
        await list.waitFor();
        await isAccessible(page, "the list of keys");
        await fits(page, "the list of keys");
        await page.keyboard.press("Escape");
        await list.waitFor({ state: "detached" });
        await button.and(page.locator(":focus")).waitFor();
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
      await atDesk(page, programs.language);
      await runButton(page).click();
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

for (const [path, chosen, scheme, ground] of [
  ["/", "light", "dark", "rgb(246, 247, 249)"],
  ["/play", "dark", "light", "rgb(13, 18, 23)"],
  ["/docs", "light", "dark", "rgb(246, 247, 249)"],
  ["/docs", "dark", "light", "rgb(13, 18, 23)"],
]) {
  test(`who chose ${chosen} where the system is ${scheme} sees nothing else of ${path}`, () =>
    on(
      "/",
      async (page) => {
        const button = page.getByRole("button", { name: /^Theme/ });
        while (!new RegExp(`Theme: ${chosen}`).test((await button.getAttribute("aria-label")) ?? "")) await button.click();
        // What the ground is in every frame that is drawn, from the first one on.
        await page.addInitScript(() => {
          globalThis.grounds = new Set();
          const look = () => {
            if (document.body) globalThis.grounds.add(getComputedStyle(document.documentElement).backgroundColor);
            requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        });
        await page.goto(path);
        await page.locator(path === "/docs" ? "#executors tr" : path === "/" ? ".executor" : ".cm-content").first().waitFor();
        assert.deepEqual(await page.evaluate(() => [...globalThis.grounds]), [ground]);
      },
      { scheme },
    ));
}

test("the page to try the API does not ask while nobody looks", () =>
  on("/docs", async (page) => {
    await atDocs(page);
    let asked = 0;
    await page.route("**/health", (route) => {
      asked += 1;
      return route.continue();
    });
    const show = async (isHidden) => {
      await page.evaluate((it) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => it });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    };
    await page.clock.install();
    await show(true);
    await page.clock.runFor(60_000);
    assert.equal(asked, 0, "it asks for nobody");
    await show(false);
    await until(() => asked === 1, "a question");
    await page.locator("#executors tr").first().waitFor();
    await until(async () => {
      await page.clock.runFor(5000);
      return asked > 1;
    }, "another question");
  }));

/** What there is when a page has loaded. */
const READY = { "/": ".executor", "/play": ".cm-content", "/rooms": "form", "/jobs": ".job-table, .empty, .notice", "/docs": "#executors tr" };

for (const { viewport } of LOOKS) {
  for (const [path, ready] of Object.entries(READY)) {
    test(`${path} keeps still while it loads, ${viewport.width} pixels wide`, () =>
      on(
        path,
        async (page) => {
          await page.locator(ready).first().waitFor();
          await keepsStill(page, path);
          await isAtRest(page, path);
          if (path !== "/play") return;
          await page.locator(".cm-content").click();
          await page.locator(".cm-cursor").first().waitFor({ state: "attached" });
          await isAtRest(page, "the caret");
        },
        { viewport },
      ));
  }
}

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
