/**
 * The playground in a real browser, against a fleet that runs; what it is told is in `suite.mjs`, and
 *
 *   FLOTILLA_PROGRAMS  {language, quick, holds, waits, endless, markup, broken: {source, line}, picture, leaves: {source, png, csv}, args, two}
 */
import assert from "node:assert/strict";
import test from "node:test";

import { atDesk, inBrowser, isAccessible, isTime, runButton, until, visit, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

const on = inBrowser(url);

const log = (page) => page.getByRole("log");

/** Presses Tab until something has the focus. */
async function tabTo(page, selector) {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    // What has the focus may be within something that hides its own tree.
    if ((await page.locator(selector).and(page.locator(":focus")).count()) > 0) return;
  }
  assert.fail(`the keyboard does not lead to ${selector}`);
}

/** Types a program in place of what is there. */
async function typeAnew(page, text) {
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(text);
}

test("a program is written, run and stopped with the keyboard alone", () =>
  on("/play", async (page) => {
    await page.locator(".cm-content").waitFor();
    await tabTo(page, "#language");
    await page.keyboard.type(programs.language);
    await page.getByLabel("Language", { exact: true }).and(page.locator(":focus")).waitFor();
    assert.equal(await page.getByLabel("Language", { exact: true }).inputValue(), programs.language);
    await tabTo(page, ".cm-content");
    await typeAnew(page, programs.waits);
    await page.keyboard.press("ControlOrMeta+Enter");
    await log(page).getByText("begun").waitFor();
    await page.keyboard.press("ControlOrMeta+.");
    await page.getByRole("status").filter({ hasText: "The run was stopped" }).waitFor();
    await page.locator(".bar").getByText("Stopped", { exact: true }).waitFor();
    // Back in the editor, the next program runs to its end.
    while (!(await page.locator(".cm-content").and(page.locator(":focus")).count())) await page.keyboard.press("Shift+Tab");
    await typeAnew(page, programs.quick);
    await page.keyboard.press("ControlOrMeta+Enter");
    await page.getByRole("status").filter({ hasText: /Run finished: Success, exit code 0/ }).waitFor();
    // Esc and then Tab lead out of the editor, where Tab alone indents.
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    assert.equal(await page.locator(".cm-content").and(page.locator(":focus")).count(), 0, "the editor keeps the focus");
  }));

test("what is typed over a selection takes its place, and brackets go around it", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, "one = two\nthree");
    const source = () => page.locator(".cm-content").innerText();
    for (const [selects, typed, expected] of [
      ["Shift+End", "x = '1'", "x = '1'\nthree"],
      ["Shift+End", "(", "(x = '1')\nthree"],
      ["ControlOrMeta+a", "d", "d"],
    ]) {
      await page.keyboard.press("ControlOrMeta+Home");
      await page.keyboard.press(selects);
      await page.keyboard.type(typed);
      assert.equal(await source(), expected);
    }
    // Each is undone by itself.
    await page.keyboard.press("ControlOrMeta+z");
    assert.equal(await source(), "(x = '1')\nthree");
  }));

test("the end of a long output stays in sight beside what came of it", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.quick.replace(/$/, "\n").repeat(200));
    await runButton(page).click();
    await page.locator(".results").waitFor();
    await until(() => log(page).evaluate((it) => it.scrollTop > 0 && it.scrollHeight - it.scrollTop - it.clientHeight < 2), "the end of the output");
  }));

test("output comes as it is written, and Stop stops the program", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.waits);
    await runButton(page).click();
    await log(page).getByText("begun").waitFor();
    await page.getByRole("button", { name: /^Stop/ }).click();
    await page.getByText("Stopped", { exact: true }).waitFor();
    // The executor hears of it: its slot is free again long before the program would have ended.
    await until(async () => {
      const { executors } = await (await page.request.get("/v1/fleet")).json();
      return executors.every((it) => it.inFlight === 0 && it.slotsFree === it.slots);
    }, "a slot that is free");
  }));

test("what a program writes is text, whatever it looks like", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.markup);
    await runButton(page).click();
    await page.locator(".results").waitFor();
    assert.match(await log(page).innerText(), /<img src=x onerror=alert\(1\)>/);
    assert.equal(await log(page).locator("img, script").count(), 0);
    assert.equal(await log(page).locator(".fg-1").innerText(), "red");
  }));

test("what is wrong with a program is shown at its line, and leads there", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.broken.source);
    await page.locator(".cm-lintRange-error").first().waitFor();
    await page.getByText(/^\d+ errors?/).waitFor();
    await isAccessible(page, "a complaint");
    await runButton(page).click();
    await log(page).locator("button").first().click();
    const line = new RegExp(`^${programs.broken.line}$`);
    await page.locator(".cm-activeLineGutter").filter({ hasText: line }).waitFor();
  }));

test("a shared program arrives whole, and yields to what was there", () =>
  on("/play", async (page, context) => {
    await atDesk(page, programs.language);
    await write(page, programs.args);
    if (!(await page.getByLabel("Arguments").isVisible())) await page.getByText("Input, arguments, limits").click();
    await page.getByLabel("Arguments").fill("one 'two words'");
    await page.getByLabel("Standard input").fill("three\n");
    await page.getByRole("button", { name: "Share" }).click();
    const link = await page.locator(".popover input").inputValue();
    assert.ok(link.startsWith(`${url}/play#program=`) && link.length < 8192, link);
    const { page: other, context: theirs, faults } = await visit(page.context().browser(), url, link.slice(url.length));
    await runButton(other).click();
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
    await atDesk(page, programs.language);
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
    await atDesk(page, programs.language);
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
    await runButton(page).click();
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
    await atDesk(page, programs.language);
    await write(page, programs.picture);
    await runButton(page).click();
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
    await atDesk(page, programs.language);
    const examples = page.getByLabel("Examples");
    assert.ok((await examples.locator("option").count()) > 2);
    await examples.selectOption({ index: 2 });
    await runButton(page).click();
    await page.getByRole("button", { name: "Copy as curl" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(copied.startsWith(`curl -sN ${url}/v1/execute`), copied);
  }));

/** What the page says that came of a run, and what the gateway does. */
async function report(page, act) {
  const begun = page.waitForResponse((it) => it.request().method() === "POST" && new URL(it.url()).pathname === "/v1/runs");
  await act();
  const { id, ticket } = await (await begun).json();
  await page.locator(".results").waitFor();
  const rows = await page.locator(".result-facts > div").evaluateAll((all) => all.map((it) => [...it.children].map((part) => part.textContent)));
  const told = await (await page.request.get(`/v1/runs/${id}?ticket=${ticket}`)).json();
  return { facts: Object.fromEntries(rows), told: told.report };
}

test("what a run took, where and how it began is told", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.holds);
    const { facts, told } = await report(page, () => runButton(page).click());
    isTime(facts.Run, told.executionTime * 1000, "the run");
    isTime(facts.Processor, told.cpuTime * 1000, "the processor");
    isTime(facts.Queue, told.timings.queue, "the queue");
    assert.match(facts["Round trip"], /^[\d.]+ m?s$/);
    const [kind, start] = facts.Start.split(", ");
    assert.equal(kind, told.warm ? "warm" : "cold");
    isTime(start, told.timings.start, "the start");
    const [number, unit] = facts.Memory.split(" ");
    const bytes = Number(number) * { B: 1, KB: 1 << 10, MB: 1 << 20, GB: 1 << 30 }[unit];
    assert.ok(told.memoryUsed > 32 << 20 && Math.abs(bytes - told.memoryUsed) < told.memoryUsed / 10, `${facts.Memory} is not ${told.memoryUsed}`);
    assert.equal(facts.Isolation, told.isolation);
    assert.equal(facts.Runtime, `${told.language} ${told.version}`);
    const where = await page.locator(".timeline").getAttribute("aria-label");
    assert.match(where, /^Where the time went: .*run [\d.]+ m?s/);
  }));

test("a program that never ends is ended by the limit that was set", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    await write(page, programs.endless);
    await page.getByLabel("Seconds").fill("1");
    await page.getByLabel("Memory, MB").fill("64");
    await page.keyboard.press("Tab");
    const sent = page.waitForRequest((it) => it.method() === "POST" && new URL(it.url()).pathname === "/v1/runs");
    const { told } = await report(page, () => page.keyboard.press("ControlOrMeta+Enter"));
    const { timeout, memoryLimit } = (await sent).postDataJSON();
    assert.deepEqual({ timeout, memoryLimit }, { timeout: 1, memoryLimit: 64 });
    await page.locator(".bar").getByText("Out of time", { exact: true }).waitFor();
    assert.equal(told.status, "timeout");
    await page.getByRole("button", { name: "Copy for an issue" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const issue = await page.evaluate(() => navigator.clipboard.readText());
    for (const part of ["**Out of time", "Limits: 1 s, 64 MB", told.requestId, told.version, programs.endless]) assert.ok(issue.includes(part), `${part} is not in ${issue}`);
    await isAccessible(page, "a program that ran out of time");
  }));

test("pictures and tables that a program leaves come back as they were written", () =>
  on("/play", async (page) => {
    await atDesk(page, programs.language);
    const { source, png, csv } = programs.leaves;
    await write(page, source);
    await page.getByLabel("Files to bring back").fill("*.png *.csv");
    await runButton(page).click();
    const picture = page.locator(".brought img");
    await picture.waitFor();
    assert.deepEqual(await picture.evaluate((it) => it.decode().then(() => [it.naturalWidth, it.naturalHeight])), [1, 1]);
    for (const [name, content] of [
      ["dot.png", Buffer.from(png, "base64")],
      ["rows.csv", Buffer.from(csv)],
    ]) {
      const download = page.waitForEvent("download");
      await page.locator(".brought a", { hasText: name }).click();
      const saved = await download;
      assert.equal(saved.suggestedFilename(), name);
      const pieces = [];
      for await (const piece of await saved.createReadStream()) pieces.push(piece);
      assert.deepEqual(Buffer.concat(pieces), content, name);
    }
    await isAccessible(page, "files that were brought back");
  }));
