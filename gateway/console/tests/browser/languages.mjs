/**
 * Every language of a fleet in the playground, in a real browser. What started the fleet tells
 *
 *   FLOTILLA_URL        a gateway without keys
 *   FLOTILLA_LANGUAGES  those that must be there, separated by spaces; none where toolchains may be missing
 *   FLOTILLA_PROGRAMS   {uncompilable: {id: {source, line}}}: what its compiler refuses, and at which line
 */
import assert from "node:assert/strict";
import test from "node:test";

import { inBrowser, runButton, until, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const required = (process.env.FLOTILLA_LANGUAGES ?? "").split(" ").filter(Boolean);
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");

const on = inBrowser(url);
const log = (page) => page.getByRole("log");
/** The number of the first line that an error is marked in; 0 if there is none. */
const marked = (page) =>
  page
    .locator(".cm-content")
    .evaluate((it) => [...it.querySelectorAll(".cm-line")].findIndex((line) => line.querySelector(".cm-lintRange-error")) + 1);

test("every language of the fleet runs", () =>
  on("/play", async (page) => {
    await page.locator(".cm-content").waitFor();
    const { languages } = await (await page.request.get("/v1/languages")).json();
    const runnable = languages.filter((it) => it.available);
    assert.ok(runnable.length > 0);
    for (const id of required) assert.ok(runnable.some((it) => it.id === id), `${id} does not run`);
    for (const { id } of runnable) {
      await page.getByLabel("Language", { exact: true }).selectOption(id);
      await runButton(page).click();
      await page.locator(".result-facts").getByText(new RegExp(`^${id} \\d`)).waitFor();
      await page.locator(".bar").getByText("Success", { exact: true }).waitFor();
      assert.notEqual((await log(page).innerText()).trim(), "", id);
      await page.getByRole("button", { name: "Clear" }).click();
    }
    console.log(`ran ${runnable.map((it) => it.id).join(", ")}`);
  }));

test("every language whose compiler refuses a program marks the line, and its words lead there", () =>
  on("/play", async (page) => {
    await page.locator(".cm-content").waitFor();
    const { languages } = await (await page.request.get("/v1/languages")).json();
    const compiled = Object.entries(programs.uncompilable).filter(([id]) => languages.some((it) => it.id === id && it.available));
    for (const [id, { source, line }] of compiled) {
      await page.getByLabel("Language", { exact: true }).selectOption(id);
      await write(page, source);
      await until(async () => (await marked(page)) === line, `a mark at line ${line} of ${id}`);
      await runButton(page).click();
      await page.locator(".bar").getByText("Does not compile", { exact: true }).waitFor();
      await log(page).locator("button").first().click();
      await page.locator(".cm-activeLineGutter").filter({ hasText: new RegExp(`^${line}$`) }).waitFor();
      await page.getByRole("button", { name: "Clear" }).click();
    }
    // Who does not want programs looked at while they are written is shown what the run's own compiler found.
    if (!(await page.getByLabel("Check as I type").isVisible())) await page.getByText("Input, arguments, limits").click();
    await page.getByLabel("Check as I type").uncheck();
    for (const [id, { line }] of compiled) {
      await page.getByLabel("Language", { exact: true }).selectOption(id);
      assert.equal(await marked(page), 0, `${id} is looked at`);
      await runButton(page).click();
      await until(async () => (await marked(page)) === line, `a mark of the run at line ${line} of ${id}`);
      await page.getByRole("button", { name: "Clear" }).click();
      await until(async () => (await marked(page)) === 0, "no mark");
    }
    console.log(`refused by ${compiled.map(([id]) => id).join(", ") || "nobody"}`);
  }));
