/**
 * Programs that talk, in a real browser, against a fleet that runs. As in `suite.mjs`, what started the fleet
 * tells where it is and which programs to write:
 *
 *   FLOTILLA_URL       a gateway without keys
 *   FLOTILLA_PROGRAMS  {language, waits, asks, interrupted, terminal, counts, hostile, floods, long}
 */
import assert from "node:assert/strict";
import test, { after, before } from "node:test";

import { called, fits, isAccessible, isAtRest, isSilent, launch, LOOKS, until, visit, wire, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Visits the playground, lets `look` have it, and fails for whatever the page should not have done. */
async function at(look, { program, terminal = false, ...options } = {}) {
  const { page, context, faults } = await visit(browser, options.url ?? url, "/play", options);
  try {
    await page.locator(".cm-content").waitFor();
    await page.getByLabel("Language", { exact: true }).selectOption(programs.language);
    if (program) await write(page, program);
    if (terminal) await page.getByRole("switch", { name: "Terminal" }).click();
    await look(page, context);
    assert.deepEqual(faults, [], "the page did what it must not");
  } finally {
    if (!page.isClosed()) await leaveNothing(page);
    await context.close();
  }
}

/** What a test left running would keep a slot from the next one. */
async function leaveNothing(page) {
  const run = await kept(page);
  if (run) await fetch(`${url}/v1/runs/${run.id}?ticket=${run.ticket}`, { method: "DELETE" });
}

/** Where a run is shown. */
const RESULT = "section[aria-label=Result]";

const begin = (page) => page.getByRole("button", { name: /^Run/ }).click();
const log = (page) => page.getByRole("log");
const field = (page) => page.getByLabel("Input", { exact: true });
const text = async (page) => (await log(page).innerText()).trim();
const screen = (page) => page.locator(".xterm-accessibility-tree");
const ended = (page, how) => page.getByRole("status").filter({ hasText: how }).waitFor();
const kept = (page) => page.evaluate(() => JSON.parse(sessionStorage.getItem("flotilla.run")));

/** What a page is told of a run, its own ticket at hand. */
async function told(page, { id, ticket }) {
  const answer = await page.request.get(`/v1/runs/${id}?ticket=${ticket}`);
  return answer.json();
}

/** Whether the log has all that `counts` writes, once and in order, and what was typed where it was taken. */
async function counted(page, typed) {
  const lines = (await text(page)).split("\n");
  assert.equal(lines.filter((it) => it === typed).length, 1, "what was typed");
  const rest = lines.filter((it) => it !== typed);
  assert.deepEqual(rest, [...Array.from({ length: 60 }, (_, at) => `line ${at + 1}`), `got ${typed}`]);
}

test("a program asks and is answered, until its input ends", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("Name?").waitFor();
      await field(page).fill("Ann");
      await field(page).press("Enter");
      await log(page).getByText("hello Ann").waitFor();
      assert.equal(await field(page).inputValue(), "");
      // A line that was typed can be had back.
      await field(page).press("ArrowUp");
      assert.equal(await field(page).inputValue(), "Ann");
      await field(page).fill("zwei 🎈");
      await field(page).press("Enter");
      await log(page).getByText("got zwei 🎈").waitFor();
      await field(page).press("Control+d");
      await ended(page, /Run finished: Success/);
      assert.equal(await text(page), "Name? Ann\nhello Ann\nzwei 🎈\ngot zwei 🎈\nend of input");
      assert.equal(await field(page).count(), 0);
    },
    { program: programs.asks },
  ));

test("a button ends the input, and what was begun is its last line", () =>
  at(
    async (page) => {
      await begin(page);
      await field(page).fill("Ann");
      await field(page).press("Enter");
      await field(page).fill("no newline");
      await page.getByRole("button", { name: "EOF" }).click();
      await ended(page, /Run finished: Success/);
      assert.match(await text(page), /got no newline\nend of input$/);
    },
    { program: programs.asks },
  ));

test("input that was written before is all there is", () =>
  at(
    async (page) => {
      await page.getByLabel("Standard input").fill("Ann\nmore\n");
      await begin(page);
      await ended(page, /Run finished: Success/);
      assert.equal(await text(page), "Name? hello Ann\ngot more\nend of input");
    },
    { program: programs.asks },
  ));

test("Ctrl+C interrupts where nothing is selected, and copies what is", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("begun").waitFor();
      await field(page).fill("copied");
      await field(page).press("Control+a");
      await field(page).press("Control+c");
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "copied");
      assert.equal((await told(page, await kept(page))).state, "running");
      await field(page).press("End");
      await field(page).press("Control+c");
      await log(page).getByText("interrupted").waitFor();
      await ended(page, /Run finished: Success/);
    },
    { program: programs.interrupted },
  ));

test("signals are sent from a menu, with the keyboard alone", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("begun").waitFor();
      const menu = page.getByRole("button", { name: "Signal", exact: true });
      await menu.focus();
      await page.keyboard.press("ArrowDown");
      await page.getByRole("menuitem", { name: /^Interrupt/ }).waitFor();
      await isAccessible(page, "a menu");
      await page.keyboard.press("Escape");
      assert.equal(await page.getByRole("menuitem").count(), 0);
      assert.ok(await menu.evaluate((it) => it === document.activeElement), "the menu gives the focus back");
      await page.keyboard.press("Enter");
      await page.keyboard.press("ArrowDown");
      assert.match(await page.locator(":focus").innerText(), /^Terminate/);
      await page.keyboard.press("Escape");
      await page.keyboard.press("ArrowUp");
      assert.match(await page.locator(":focus").innerText(), /^Kill/);
      await page.keyboard.press("Enter");
      await ended(page, /Run finished: .*SIGKILL/);
    },
    { program: programs.interrupted },
  ));

test("Stop stops a program that hears nothing, and its report says so", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("begun").waitFor();
      await page.keyboard.press("Control+.");
      await page.getByText("Stopped", { exact: true }).waitFor();
      await page.locator(".results").waitFor();
      await until(async () => {
        const { executors } = await (await page.request.get("/v1/fleet")).json();
        return executors.every((it) => it.inFlight === 0 && it.slotsFree === it.slots);
      });
    },
    { program: programs.waits },
  ));

test("a program has a terminal: it is one, it asks, its size is ours, and Ctrl+C arrives", () =>
  at(
    async (page) => {
      await page.locator(".xterm").waitFor();
      await begin(page);
      await screen(page).getByText("terminal True").waitFor();
      const size = async () => (await screen(page).innerText()).match(/size (\d+) (\d+)/g)?.at(-1);
      const before = await size();
      await screen(page).getByText("Name?").waitFor();
      await page.keyboard.type("Ann");
      await page.keyboard.press("Enter");
      await screen(page).getByText("hello Ann").waitFor();
      await page.setViewportSize({ width: 1000, height: 700 });
      await until(async () => (await size()) !== before);
      // Colours of 24 bits are style attributes in xterm's own code, which the page's policy refuses.
      const colour = await page.locator(".xterm-rows span", { hasText: "true colour" }).evaluate((it) => getComputedStyle(it).backgroundColor);
      assert.equal(colour, "rgb(10, 20, 200)");
      // Tab is the program's, and Shift+Tab leads out.
      await page.keyboard.press("Tab");
      assert.ok(await page.evaluate(() => document.activeElement.classList.contains("xterm-helper-textarea")));
      await page.keyboard.press("Shift+Tab");
      assert.ok(!(await page.evaluate(() => document.activeElement.classList.contains("xterm-helper-textarea"))));
      await page.locator(".xterm").click();
      await page.keyboard.press("Control+c");
      await screen(page).getByText("interrupted").waitFor();
      await ended(page, /Run finished: Success/);
    },
    { program: programs.terminal, terminal: true },
  ));

test("a page that is loaded anew finds its run again, with all of its output", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("line 20", { exact: true }).waitFor();
      const { id } = await kept(page);
      await page.reload();
      await log(page).getByText("line 1", { exact: true }).waitFor();
      await page.getByRole("button", { name: /^Stop/ }).waitFor();
      assert.equal((await kept(page)).id, id);
      await field(page).fill("go on");
      await field(page).press("Enter");
      await ended(page, /Run finished: Success/);
      await counted(page, "go on");
      assert.equal(await kept(page), null, "what is over is not found again");
      await page.locator(".results").waitFor();
      await page.getByRole("button", { name: "Copy as curl" }).click();
    },
    { program: programs.counts },
  ));

test("a terminal that is loaded anew shows what was there, and answers nothing twice", () =>
  at(
    async (page) => {
      await begin(page);
      await screen(page).getByText("Name?").waitFor();
      await page.reload();
      await screen(page).getByText("Name?").waitFor();
      await page.keyboard.type("Ann\n");
      await screen(page).getByText("hello Ann").waitFor();
      assert.match(await screen(page).innerText(), /Name\? (size \d+ \d+\s+)?Ann\s/, "something was typed that nobody typed");
      await page.keyboard.press("Control+c");
      await ended(page, /Run finished/);
    },
    { program: programs.terminal, terminal: true },
  ));

test("the run goes on while another place of the page is looked at", () =>
  at(
    async (page) => {
      await begin(page);
      await log(page).getByText("line 5", { exact: true }).waitFor();
      await page.getByRole("link", { name: "Fleet" }).click();
      await page.locator(".executor").first().waitFor();
      await page.getByRole("link", { name: "Playground" }).click();
      await field(page).fill("back");
      await field(page).press("Enter");
      await ended(page, /Run finished: Success/);
      await counted(page, "back");
    },
    { program: programs.counts },
  ));

test("a tab that is closed leaves its run to itself", () =>
  at(
    async (page, context) => {
      await begin(page);
      await log(page).getByText("begun").waitFor();
      const run = await kept(page);
      const other = await context.newPage();
      await page.close();
      await until(async () => (await told(other, run)).viewers === 0);
      assert.equal((await told(other, run)).state, "running");
      await other.request.delete(`/v1/runs/${run.id}?ticket=${run.ticket}`);
    },
    { program: programs.waits },
  ));

test("a connection that is lost is found again, and nothing is missing or there twice", async () => {
  const way = await wire(url);
  try {
    await at(
      async (page) => {
        await begin(page);
        for (const line of ["line 3", "line 12", "line 25"]) {
          await log(page).getByText(line, { exact: true }).waitFor();
          way.cut();
          await page.getByText("Reconnecting", { exact: true }).waitFor();
          // It looks the same each time, and the program has a minute.
          if (line === "line 3") await isAccessible(page, "a lost connection");
          way.mend();
          await page.getByText("Reconnecting", { exact: true }).waitFor({ state: "hidden" });
        }
        way.cut();
        await page.getByText("Reconnecting", { exact: true }).waitFor();
        await field(page).fill("typed in the dark");
        await field(page).press("Enter");
        way.mend();
        await ended(page, /Run finished: Success/);
        await counted(page, "typed in the dark");
      },
      { program: programs.counts, url: way.url, expects: [/ERR_/, /WebSocket/] },
    );
  } finally {
    way.close();
  }
});

test("whoever stops a run while nobody answers is not kept waiting", async () => {
  const way = await wire(url);
  try {
    await at(
      async (page) => {
        await begin(page);
        await log(page).getByText("begun").waitFor();
        const run = await kept(page);
        way.cut();
        await page.getByText("Reconnecting", { exact: true }).waitFor();
        await page.getByRole("button", { name: /^Stop/ }).click();
        await page.locator(".failed").getByText(/It could not be stopped/).waitFor();
        await page.getByRole("button", { name: /^Run/ }).waitFor();
        await fetch(`${url}/v1/runs/${run.id}?ticket=${run.ticket}`, { method: "DELETE" });
      },
      { program: programs.waits, url: way.url, expects: [/ERR_/, /WebSocket/] },
    );
  } finally {
    way.close();
  }
});

test("what comes is drawn in the next frame", () =>
  at(
    async (page) => {
      await page.evaluate(() => {
        globalThis.frames_waited = [];
        let came;
        let frames = 0;
        const count = () => {
          frames += 1;
          requestAnimationFrame(count);
        };
        requestAnimationFrame(count);
        const hear = WebSocket.prototype.addEventListener;
        WebSocket.prototype.addEventListener = function (type, listener) {
          const noted = (event) => {
            if (type === "message" && event.data.includes('"stdout"')) came ??= frames;
            listener(event);
          };
          hear.call(this, type, noted);
        };
        new MutationObserver(() => {
          if (came !== undefined) globalThis.frames_waited.push(frames - came);
          came = undefined;
        }).observe(document.querySelector(".log-frame").parentElement, { childList: true, subtree: true });
      });
      await begin(page);
      await log(page).getByText("line 60", { exact: true }).waitFor();
      const waited = await page.evaluate(() => globalThis.frames_waited);
      // On a busy machine several lines come between two frames; a page that waits for the end draws once.
      assert.ok(waited.length > 3, `${waited}`);
      assert.ok(waited.every((it) => it <= 1), `frames until it was drawn: ${waited}`);
    },
    { program: programs.counts },
  ));

for (const terminal of [false, true]) {
  const where = terminal ? "a terminal" : "the log";
  test(`a hostile program harms nothing in ${where}: markup, escapes and 100 MB`, () =>
    at(
      async (page, context) => {
        let asked = 0;
        page.on("dialog", (dialog) => {
          asked += 1;
          return dialog.dismiss();
        });
        const title = await page.title();
        await begin(page);
        await page.locator(".results").waitFor();
        await page.locator(".bar").getByText("Too much output", { exact: true }).waitFor();
        // The page still does what it is asked.
        await page.locator(".cm-content").click();
        await page.keyboard.type("alive");
        await page.locator(".cm-content").getByText("alive").first().waitFor();
        const shown = page.locator(terminal ? ".terminal-frame" : ".log");
        assert.equal(await shown.locator("img, script, iframe, a[href]").count(), 0);
        assert.ok((await shown.locator("*").count()) < 30_000);
        assert.equal(await page.title(), title);
        assert.equal(await page.evaluate(() => globalThis.harmed), undefined);
        assert.equal(asked, 0);
        assert.equal(context.pages().length, 1);
        await fits(page, where);
      },
      { program: programs.hostile, terminal },
    ));
}

test("a flood of short lines leaves the page usable, and says what it leaves out", () =>
  at(
    async (page) => {
      await begin(page);
      await page.locator(".results").waitFor();
      await page.getByText(/earlier lines not shown$/).waitFor();
      assert.ok((await log(page).locator(".log-line").count()) <= 10_000);
      const download = page.waitForEvent("download");
      await page.getByRole("button", { name: "Save all" }).click();
      const file = await (await download).createReadStream();
      let bytes = 0;
      for await (const chunk of file) bytes += chunk.length;
      assert.equal(bytes, 800_001);
      await page.locator(".cm-content").click();
      await page.keyboard.type("alive");
      await page.locator(".cm-content").getByText("alive").first().waitFor();
    },
    { program: programs.floods },
  ));

test("a gateway that has no runs for the caller is told as any refusal", () =>
  at(
    async (page) => {
      await page.route("**/v1/runs", (route) =>
        route.fulfill({ status: 403, contentType: "application/problem+json", body: JSON.stringify({ code: "forbidden", detail: "not with this key" }) }),
      );
      await begin(page);
      await page.getByText("Not run", { exact: true }).waitFor();
      await page.getByText("not with this key", { exact: true }).waitFor();
      await isAccessible(page, "a refusal");
    },
    { program: programs.waits, expects: [/403/] },
  ));

test("a program too long for a link is kept by the gateway, or said to be too long", () =>
  at(
    async (page) => {
      const keeps = (await page.request.post("/v1/snippets", { data: { probe: true } })).status() === 201;
      await page.getByRole("button", { name: "Share" }).click();
      if (!keeps) {
        await page.getByText(/^Too long to share\./).waitFor();
        return;
      }
      const link = await page.locator(".popover input").inputValue();
      assert.match(link, /\/play\?snippet=[\w-]+$/);
      // In a browser of somebody else, who has no program of their own.
      const { page: other, context: theirs, faults } = await visit(browser, url, link.slice(url.length));
      await other.locator(".cm-content").getByText(programs.long.slice(0, 30)).first().waitFor();
      assert.equal(new URL(other.url()).search, "");
      assert.deepEqual(faults, []);
      await theirs.close();
    },
    { program: programs.long, expects: [/404/] },
  ));

for (const look of LOOKS) {
  test(`a program that talks is accessible, ${called(look)}`, () =>
    at(
      async (page) => {
        await begin(page);
        await log(page).getByText("Name?").waitFor();
        await field(page).fill("Ann");
        await field(page).press("Enter");
        await log(page).getByText("hello Ann").waitFor();
        await page.locator(".spent", { hasText: /^\d+ s · [\d.]+ [KMG]?B$/ }).waitFor({ state: "attached" });
        await isAccessible(page, "a program that talks");
        await isAtRest(page, "a program that talks");
        await isSilent(page, RESULT, "the log");
        await fits(page, "a program that talks");
        await page.getByRole("button", { name: "EOF" }).click();
        await ended(page, /Run finished/);
      },
      { program: programs.asks, ...look },
    ));

  test(`a terminal is accessible, ${called(look)}`, () =>
    at(
      async (page) => {
        await begin(page);
        await screen(page).getByText("Name?").waitFor();
        await isAccessible(page, "a terminal");
        await isAtRest(page, "a terminal");
        await isSilent(page, RESULT, "the terminal");
        await fits(page, "a terminal");
        await page.getByRole("button", { name: "Signal", exact: true }).click();
        await fits(page, "a menu");
        await page.getByRole("menuitem", { name: /^Kill/ }).click();
        await ended(page, /Run finished/);
        await isAccessible(page, "a terminal whose program has ended");
      },
      { program: programs.terminal, terminal: true, ...look },
    ));
}
