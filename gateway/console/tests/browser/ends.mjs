/**
 * A page that stays open while a gateway and an executor end and come back. Whoever started the fleet does that
 * when it is asked to: a line `ASK to what` on standard output is answered by a line on standard input.
 *
 *   FLOTILLA_URL       a gateway without keys, which is the one that ends
 *   FLOTILLA_PROGRAMS  {language, waits, asks}
 */
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import test, { after, before } from "node:test";

import { isAccessible, launch, visit, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

let browser;
before(async () => {
  browser = await launch();
});
after(async () => {
  await browser.close();
  process.stdin.destroy();
});

async function ask(what) {
  process.stdout.write(`\nASK to ${what}\n`);
  await lines.next();
}

/** A page may complain of a network that is gone, and of nothing else. */
const EXPECTS = { expects: [/ERR_/, /WebSocket/, /status of 50\d/] };

const begin = (page) => page.getByRole("button", { name: /^Run/ }).click();
const log = (page) => page.getByRole("log");

async function atDesk(program) {
  const { page, context, faults } = await visit(browser, url, "/play", EXPECTS);
  await page.locator(".cm-content").waitFor();
  await page.getByLabel("Language", { exact: true }).selectOption(programs.language);
  await write(page, program);
  return { page, context, faults };
}

for (const how of ["end", "kill"]) {
  test(`a gateway is there again under an open page (${how})`, async () => {
    const { page, context, faults } = await atDesk(programs.waits);
    const fleet = await context.newPage();
    await fleet.goto("/");
    await fleet.locator(".live-live").waitFor();
    await begin(page);
    await log(page).getByText("begun").waitFor();
    await ask(`${how} the gateway`);
    // A gateway that ends stops its interactive runs and says so; one that is killed says nothing.
    await page.locator(".bar").getByText(how === "end" ? /Stopped|Lost|Reconnecting/ : "Reconnecting").waitFor();
    await fleet.getByText(/^(Reconnecting|Stale since)/).first().waitFor();
    await ask("start the gateway");
    // The new one knows nothing of the run, and the page waits no longer.
    await page.getByRole("button", { name: /^Run/ }).waitFor();
    await isAccessible(page, "a run that is lost");
    await fleet.locator(".live-live").waitFor();
    // The same page runs the next program.
    await write(page, programs.asks);
    await begin(page);
    await log(page).getByText("Name?").waitFor();
    await page.getByLabel("Input", { exact: true }).fill("Ann");
    await page.getByLabel("Input", { exact: true }).press("Enter");
    await log(page).getByText("hello Ann").waitFor();
    await page.getByRole("button", { name: "EOF" }).click();
    await page.locator(".results").waitFor();
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("an executor is killed and is there again, and the fleet tells since when", async () => {
  const { page, context, faults } = await atDesk(programs.waits);
  const fleet = await context.newPage();
  await fleet.goto("/");
  const card = (status) => fleet.locator(`.executor-${status}`, { hasText: programs.language });
  await card("pass").waitFor();
  await begin(page);
  await log(page).getByText("begun").waitFor();
  await ask("kill the executor");
  // Its program is lost, by no fault of its own.
  await page.locator(".bar").getByText("Lost", { exact: true }).waitFor();
  await page.getByText(/How the program ended is not known/).waitFor();
  await isAccessible(page, "a program that is lost");
  await card("fail").getByText(/^Down for \d+ s$/).waitFor();
  await ask("start the executor");
  await card("pass").getByText(/^Up for \d+ s$/).waitFor();
  await write(page, programs.asks);
  await begin(page);
  await log(page).getByText("Name?").waitFor();
  await page.getByRole("button", { name: /^Stop/ }).click();
  await page.getByText("Stopped", { exact: true }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});
