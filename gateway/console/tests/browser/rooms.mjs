/**
 * Rooms in real browsers, several at a time, against a fleet that runs. Whoever started the fleet ends and starts
 * its gateway when it is asked to: a line `ASK to what` on standard output is answered by a line on standard input.
 *
 *   FLOTILLA_URL       a gateway without keys, which is the one that ends
 *   FLOTILLA_KEYED     another with keys, FLOTILLA_KEY one of them
 *   FLOTILLA_PROGRAMS  {language, waits, asks, two}
 */
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import test, { after, before } from "node:test";

import { called, fits, isAccessible, launch, LOOKS, visit, wire, write } from "./support.mjs";

const url = process.env.FLOTILLA_URL;
const keyed = process.env.FLOTILLA_KEYED;
const key = process.env.FLOTILLA_KEY;
const programs = JSON.parse(process.env.FLOTILLA_PROGRAMS ?? "{}");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** What a first visit of a room may load, compressed, in bytes. */
const BUDGET = 350 << 10;
const LONG = "A room with a name that is so long that it does not fit anywhere at all, whatever the screen";
/** A page may complain of a network that is gone, and of nothing else. */
const CUT = { expects: [/ERR_/, /WebSocket/, /status of 50\d/] };

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

/** Somebody with a browser of their own. */
async function somebody(name, options = {}) {
  const { page, context, faults } = await visit(browser, options.url ?? url, undefined, options);
  await page.addInitScript((it) => {
    if (location.protocol !== "about:") localStorage["flotilla.name"] ??= it;
  }, name);
  return { name, page, context, faults };
}

/** Lets these people do something, and fails for whatever their pages should not have done. */
async function among(names, act, options = {}) {
  const people = [];
  try {
    for (const name of names) people.push(await somebody(name, options));
    await act(...people);
    for (const it of people) assert.deepEqual(it.faults, [], `the page of ${it.name} did what it must not`);
  } finally {
    for (const it of people) await it.context.close();
  }
}

const isLive = (page) => page.locator(".room-head").getByText("Live", { exact: true }).waitFor();
const content = (page) => page.locator(".cm-content");
const log = (page) => page.getByRole("log");
const run = (page) => page.getByRole("button", { name: /^Run(?!s)/ });
/** Waits until a page shows what a program printed, and fails with what it shows instead. */
async function prints(page, what) {
  try {
    await log(page).getByText(what).waitFor();
  } catch (error) {
    const shown = await page.locator("main").innerText();
    throw new Error(`no ${JSON.stringify(what)} in:\n${shown}\nwith this in the editor:\n${await text(page)}`, { cause: error });
  }
}

/** Waits until a page says something, and fails with what it says instead. */
async function said(page, what) {
  const all = page.getByRole("status");
  try {
    await all.filter({ hasText: what }).first().waitFor({ state: "attached" });
  } catch (error) {
    const here = await page.locator(".avatars .avatar").evaluateAll((them) => them.map((it) => it.title || it.textContent));
    const how = await page.locator(".standing").allInnerTexts();
    throw new Error(`it says ${JSON.stringify(await all.allTextContents())}, not ${what}; there are ${here}, ${how}`, { cause: error });
  }
}

/** Makes a room and is in it; says where it is. */
async function make(page, title, at = "/rooms") {
  await page.goto(at);
  await page.getByLabel("Name", { exact: true }).fill(title);
  await page.getByLabel("Begin with").selectOption(programs.language);
  await page.getByRole("button", { name: "Make the room" }).click();
  await isLive(page);
  await content(page).waitFor();
  return new URL(page.url()).pathname;
}

async function enter(page, place) {
  await page.goto(place);
  await isLive(page);
}

/** The text in the editor, as it is. */
const text = (page) =>
  content(page).evaluate((it) => [...it.querySelectorAll(".cm-line")].map((line) => line.textContent).join("\n"));

/** Waits until a text is as it should be. */
async function reads(page, expected, what = "the text") {
  const until = Date.now() + 30_000;
  for (;;) {
    const found = await text(page);
    if (typeof expected === "string" ? found === expected : expected(found)) return found;
    assert.ok(Date.now() < until, `${what} is ${JSON.stringify(found)}`);
    await page.waitForTimeout(50);
  }
}

/** Presses a key until a text is as it should be: what is typed with a pause takes more than one to undo. */
async function press(page, keys, expected) {
  for (let found = await text(page); found !== expected; ) {
    await page.keyboard.press(keys);
    // Whoever presses again before the last one is seen takes back too much.
    const before = found;
    found = await reads(page, (it) => it !== before);
  }
}

/** Makes a link for a role, as an owner does. */
async function link(page, role) {
  await page.getByRole("button", { name: "Invite" }).click();
  await page.getByRole("radio", { name: new RegExp(`\\(${role}\\)`) }).check();
  await page.getByRole("button", { name: "Make a link" }).click();
  const made = await page.getByLabel("Link to share").inputValue();
  await page.keyboard.press("Escape");
  return made;
}

test("two people write at once, end with one text, and each undoes only what is their own", () =>
  among(["Ann Lee", "Ben"], async (ann, ben) => {
    const place = await make(ann.page, "Two at once");
    await write(ann.page, "top\nbottom");
    await enter(ben.page, place);
    await reads(ben.page, "top\nbottom");
    await content(ann.page).click();
    await ann.page.keyboard.press("ControlOrMeta+Home");
    await content(ben.page).click();
    await ben.page.keyboard.press("ControlOrMeta+End");
    await Promise.all([ann.page.keyboard.type("ann 🎉 was here ", { delay: 40 }), ben.page.keyboard.type(" ben 👩‍👩‍👧 too", { delay: 40 })]);
    const both = "ann 🎉 was here top\nbottom ben 👩‍👩‍👧 too";
    await reads(ann.page, both);
    await reads(ben.page, both);
    // Each takes back what they typed, and leaves the other's alone.
    await press(ann.page, "ControlOrMeta+z", "top\nbottom ben 👩‍👩‍👧 too");
    await reads(ben.page, "top\nbottom ben 👩‍👩‍👧 too");
    await press(ben.page, "ControlOrMeta+z", "top\nbottom");
    await reads(ann.page, "top\nbottom");
    await press(ann.page, "ControlOrMeta+Shift+Z", "ann 🎉 was here top\nbottom");
    await reads(ben.page, "ann 🎉 was here top\nbottom");
  }));

test("everybody sees who is there, where they are, and what they do", () =>
  among(["Ann Lee", "Ben"], async (ann, ben) => {
    const place = await make(ann.page, "Who is here");
    await write(ann.page, "one\ntwo\nthree");
    await enter(ben.page, place);
    await said(ann.page, /Ben (joined|is here)/);
    await said(ben.page, "Ann Lee is here");
    await content(ben.page).click();
    await ben.page.keyboard.press("ControlOrMeta+End");
    await ben.page.keyboard.press("Shift+ArrowUp");
    await ann.page.locator(".cm-flag", { hasText: "Ben" }).waitFor();
    await ann.page.locator(".cm-remote").first().waitFor();
    const colours = await ann.page.locator(".avatars .avatar").evaluateAll((all) => all.map((it) => getComputedStyle(it).backgroundColor));
    assert.equal(new Set(colours).size, 2, `${colours}`);
    await isAccessible(ann.page, "the cursor of somebody else");
    // A name is changed in place, and everybody has the new one.
    await ben.page.getByRole("button", { name: /^Who is here/ }).click();
    await ben.page.getByRole("button", { name: "Change your name" }).click();
    await ben.page.getByLabel("Your name").fill("Benedikt Maximilian von und zu Hohenstein-Langenfeld der Ältere");
    await ben.page.keyboard.press("Enter");
    const long = "Benedikt Maximilian von und zu Hohenstei";
    await ann.page.getByRole("button", { name: /^Who is here/ }).click();
    await ann.page.locator(".who").getByText(long).waitFor();
    await isAccessible(ann.page, "the list of people");
    await fits(ann.page, "the list of people");
    await ben.page.keyboard.press("Escape");
    await content(ben.page).click();
    await ben.page.keyboard.press("x");
    await ann.page.locator(".who").getByText(/is typing/).waitFor();
    // Whoever is somewhere can be followed.
    await ann.page.getByRole("button", { name: `Go to ${long}` }).click();
    await content(ann.page).and(ann.page.locator(":focus")).waitFor();
    await ben.page.reload();
    await isLive(ben.page);
    await ben.page.getByRole("button", { name: new RegExp(long) }).waitFor();
    // Nobody hears of who comes and goes within a second.
    await said(ann.page, `${long} joined`);
    await ben.page.goto("/rooms");
    await said(ann.page, `${long} left`);
    await ben.page.getByRole("link", { name: /Who is here/ }).click();
    await isLive(ben.page);
  }));

test("one runs, another types, and both see all of it; who comes later as well", () =>
  among(["Ann Lee", "Ben", "Cleo"], async (ann, ben, cleo) => {
    const place = await make(ann.page, "Runs together");
    await write(ann.page, programs.asks);
    await enter(ben.page, place);
    await reads(ben.page, (it) => it.includes("Name?"));
    // Otherwise this takes the place of what is said next.
    await said(ben.page, "Ann Lee is here");
    await run(ann.page).click();
    await said(ben.page, "Ann Lee runs the program");
    for (const { page } of [ann, ben]) await prints(page, "Name?");
    await ben.page.getByRole("button", { name: /^Who is here/ }).click();
    await ben.page.locator(".who").getByText("is running it").waitFor();
    await ben.page.keyboard.press("Escape");
    await ben.page.getByLabel("Input", { exact: true }).fill("Benny");
    await ben.page.keyboard.press("Enter");
    for (const { page } of [ann, ben]) {
      await prints(page, "hello Benny");
      assert.match(await log(page).innerText(), /Name\? Ben: Benny/);
    }
    await ann.page.getByLabel("Input", { exact: true }).fill("more");
    await ann.page.keyboard.press("Enter");
    await prints(ben.page, "got more");
    await ben.page.getByRole("button", { name: "EOF" }).click();
    await Promise.all([ann, ben].map(({ page }) => said(page, /Run finished: Success, exit code 0/)));
    for (const { page } of [ann, ben]) {
      await page.locator(".results").waitFor();
      await isAccessible(page, "a run of a room");
    }
    await enter(cleo.page, place);
    await cleo.page.locator(".results").waitFor();
    await prints(cleo.page, "end of input");
    assert.equal(await log(cleo.page).innerText(), await log(ann.page).innerText());
    // A later run takes its place, and the earlier one can be looked at again.
    await write(cleo.page, programs.waits);
    await cleo.page.keyboard.press("ControlOrMeta+Enter");
    await prints(ann.page, "begun");
    await ben.page.getByRole("button", { name: /^Stop/ }).click();
    for (const { page } of [ann, ben, cleo]) await page.locator(".bar").getByText("Stopped").waitFor();
    await ann.page.getByRole("button", { name: "Runs", exact: true }).click();
    const items = ann.page.getByRole("menuitem");
    assert.deepEqual(await items.evaluateAll((all) => all.map((it) => it.textContent.split(",")[0])), ["Cleo", "Ann Lee"]);
    await items.nth(1).click();
    await prints(ann.page, "hello Benny");
  }));

test("files, language and arguments are shared", () =>
  among(["Ann Lee", "Ben"], async (ann, ben) => {
    const place = await make(ann.page, LONG);
    await enter(ben.page, place);
    await write(ann.page, programs.two.main);
    await ann.page.getByRole("button", { name: "Add a file" }).click();
    await ann.page.getByLabel("Name of the file").fill(programs.two.path);
    await ann.page.keyboard.press("Enter");
    await reads(ann.page, "");
    await write(ann.page, programs.two.other);
    await ben.page.getByRole("tab", { name: programs.two.path }).click();
    await reads(ben.page, programs.two.other);
    await ben.page.getByLabel("Arguments").fill("one 'two words'");
    await ann.page.waitForFunction(() => document.querySelector("#args")?.value === "one 'two words'");
    await run(ben.page).click();
    for (const { page } of [ann, ben]) await prints(page, "from the other file");
    await fits(ann.page, "a long name");
    // The text that is written stays where the cursor was, also when another file was looked at.
    await ben.page.getByRole("button", { name: `Rename ${programs.two.path}` }).click();
    await ben.page.getByLabel("Name of the file").fill(`renamed-${programs.two.path}`);
    await ben.page.keyboard.press("Enter");
    await ann.page.getByRole("tab", { name: `renamed-${programs.two.path}` }).waitFor();
    await ben.page.getByRole("button", { name: /^Delete renamed/ }).click();
    await ann.page.getByRole("tab", { name: `renamed-${programs.two.path}` }).waitFor({ state: "detached" });
    assert.equal(await ann.page.getByRole("tab").count(), 1);
    await reads(ann.page, programs.two.main);
    await ann.page.getByLabel("Language", { exact: true }).evaluate((it) => it.options.length > 0);
  }));

test("a guest without a key enters by a link, for what it is good for and as long", () =>
  among(
    ["Ann Lee", "Guest"],
    async (ann, guest) => {
      await ann.page.goto("/rooms");
      await ann.page.getByLabel("API key").fill(key);
      await ann.page.keyboard.press("Enter");
      await make(ann.page, "By invitation");
      await write(ann.page, programs.asks);
      const editor = await link(ann.page, "editor");
      const runner = await link(ann.page, "runner");
      const viewer = await link(ann.page, "viewer");
      await isAccessible(ann.page, "a room of a key's");

      await guest.page.goto(editor.slice(keyed.length));
      await isLive(guest.page);
      assert.equal(new URL(guest.page.url()).hash, "", "the invitation stays in the address");
      const kept = await guest.page.evaluate(() => JSON.stringify(localStorage) + document.cookie);
      assert.ok(!kept.includes("inv_"), "the invitation is kept beyond the tab");
      assert.equal(await guest.page.getByLabel("API key").count(), 0);
      assert.equal(await guest.page.getByRole("button", { name: "Invite" }).count(), 0);
      await reads(guest.page, (it) => it.includes("Name?"));
      await run(guest.page).click();
      for (const { page } of [ann, guest]) await prints(page, "Name?");
      await guest.page.getByLabel("Input", { exact: true }).fill("Gus");
      await guest.page.keyboard.press("Enter");
      for (const { page } of [ann, guest]) await prints(page, "hello Gus");
      await guest.page.getByRole("button", { name: "EOF" }).click();
      await ann.page.locator(".results").waitFor();

      // Another link for the same room takes its place: what is written can be run, and not changed.
      await guest.page.goto(runner.slice(keyed.length));
      await guest.page.getByText("You may run this, not change it").waitFor();
      await isLive(guest.page);
      await content(guest.page).click();
      await guest.page.keyboard.type("not mine");
      await run(guest.page).click();
      await prints(ann.page, "Name?");
      await guest.page.getByLabel("Input", { exact: true }).fill("again");
      await guest.page.keyboard.press("Enter");
      await prints(ann.page, "hello again");
      assert.ok(!(await text(ann.page)).includes("not mine"));
      await guest.page.getByRole("button", { name: /^Stop/ }).click();
      await ann.page.locator(".bar").getByText("Stopped").waitFor();

      // And by this one there is only to look.
      await guest.page.goto(viewer.slice(keyed.length));
      await isLive(guest.page);
      await guest.page.getByText("You may look at this").waitFor();
      assert.equal(await run(guest.page).count(), 0);
      assert.equal(await guest.page.getByRole("button", { name: "Add a file" }).count(), 0);
      const before = await text(guest.page);
      await content(guest.page).click();
      await guest.page.keyboard.type("not mine");
      await guest.page.keyboard.press("Enter");
      await write(ann.page, `${programs.waits}# seen\n`);
      await reads(guest.page, (it) => it.includes("# seen") && !it.includes("not mine"));
      assert.ok(!before.includes("not mine"));
      await run(ann.page).click();
      await prints(guest.page, "begun");
      assert.equal(await guest.page.getByLabel("Input", { exact: true }).count(), 0);
      assert.equal(await guest.page.getByRole("button", { name: /^Stop/ }).count(), 0);
      await isAccessible(guest.page, "a room that is only looked at");
      await ann.page.getByRole("button", { name: /^Stop/ }).click();

      // What is withdrawn is good for nothing.
      await ann.page.getByRole("button", { name: "Invite" }).click();
      await ann.page.getByRole("button", { name: "Withdraw the link for viewers" }).click();
      await ann.page.getByRole("button", { name: "Withdraw the link for viewers" }).waitFor({ state: "detached" });
      await guest.page.reload();
      await guest.page.getByRole("heading", { name: "This invitation is not good any more" }).waitFor();
      await isAccessible(guest.page, "an invitation that ended");
    },
    { url: keyed, expects: [/status of 401/] },
  ));

test("what is written without a connection is kept, and merged when there is one again", async () => {
  const way = await wire(url);
  const far = await somebody("Ann Lee", { url: way.url, ...CUT });
  const near = await somebody("Ben");
  try {
    const place = await make(far.page, "Cut off");
    await write(far.page, "top\nmiddle\nbottom");
    await enter(near.page, place);
    await reads(near.page, "top\nmiddle\nbottom");
    await said(near.page, "Ann Lee is here");
    way.cut();
    await far.page.getByText("Offline", { exact: true }).waitFor();
    await said(near.page, "Ann Lee left");
    await isAccessible(far.page, "a room without a connection");
    await content(far.page).click();
    await far.page.keyboard.press("ControlOrMeta+Home");
    await far.page.keyboard.insertText("from afar 🎉 ");
    await content(near.page).click();
    await near.page.keyboard.press("ControlOrMeta+End");
    await near.page.keyboard.insertText(" from near");
    way.mend();
    const merged = "from afar 🎉 top\nmiddle\nbottom from near";
    await isLive(far.page);
    await reads(far.page, merged);
    await reads(near.page, merged);

    // Also if the page is left before.
    way.cut();
    await far.page.getByText(/^(Reconnecting|Offline)$/).waitFor();
    await content(far.page).click();
    await far.page.keyboard.press("ControlOrMeta+Home");
    await far.page.keyboard.insertText("kept ");
    const keeps = (wanted) => far.page.waitForFunction((it) => Object.keys(localStorage).some((name) => name.includes(".unsent.")) === it, wanted);
    await keeps(true);
    await far.page.goto("about:blank");
    way.mend();
    await enter(far.page, place);
    await reads(far.page, `kept ${merged}`);
    await reads(near.page, `kept ${merged}`);
    await keeps(false);
    assert.deepEqual([far.faults, near.faults], [[], []]);
  } finally {
    await far.context.close();
    await near.context.close();
    way.close();
  }
});

test("a room that is deleted says so, and what is seen can still be copied", () =>
  among(["Ann Lee", "Ben"], async (ann, ben) => {
    const place = await make(ann.page, "Soon gone");
    await enter(ben.page, place);
    await reads(ben.page, (it) => it.length > 0);
    await ann.page.getByRole("button", { name: "Invite" }).click();
    await ann.page.getByRole("button", { name: "Delete this room…" }).click();
    await isAccessible(ann.page, "the question whether to delete");
    await ann.page.getByRole("button", { name: "Delete it" }).click();
    for (const { page } of [ann, ben]) await page.getByRole("heading", { name: "This room was deleted" }).waitFor();
    const before = await text(ben.page);
    await content(ben.page).click();
    await ben.page.keyboard.type("nobody reads this");
    assert.equal(await text(ben.page), before);
    await isAccessible(ben.page, "a room that is gone");
    await ben.page.getByRole("link", { name: "Go to your rooms" }).click();
    await ben.page.getByRole("heading", { name: "Rooms", exact: true }).waitFor();
  }));

test("a room that was never there is explained", () =>
  among(
    ["Ann Lee"],
    async ({ page }) => {
      await page.goto("/rooms/room_nowhere");
      await page.getByRole("heading", { name: "There is no such room" }).waitFor();
      await isAccessible(page, "no such room");
    },
    { expects: [/status of 404/] },
  ));

test("what is too large is refused, or ends there, and the room goes on without it", () =>
  among(
    ["Ann Lee", "Ben"],
    async (ann, ben) => {
      const place = await make(ann.page, "Too much");
      await write(ann.page, "small");
      await enter(ben.page, place);
      await reads(ben.page, "small");
      await content(ann.page).click();
      await ann.page.keyboard.insertText("x".repeat(300 << 10));
      await ann.page.locator(".source-foot").getByText("That is more than a room takes at once").waitFor();
      await reads(ann.page, "small");
      // The room as a whole has its bounds as well, and says so only there.
      const ending = ann.page.getByRole("heading", { name: "That was more than the room has space for" });
      const many = `${"x".repeat(999)}\n`.repeat(240);
      for (let times = 0; times < 12 && !(await ending.isVisible()); times += 1) await ann.page.keyboard.insertText(many);
      await ending.waitFor();
      await ann.page.getByRole("button", { name: "Load the room again" }).click();
      await isLive(ann.page);
      await content(ann.page).getByText("small").first().waitFor();
      await content(ben.page).getByText("small").first().waitFor();
      await content(ben.page).click();
      await ben.page.keyboard.press("ControlOrMeta+a");
      await ben.page.keyboard.insertText("small again");
      await reads(ann.page, "small again");
    },
    // Which the editor says of texts of this size.
    { expects: [/Measure loop restarted/] },
  ));

test("a gateway is there again under an open room", () =>
  among(
    ["Ann Lee", "Ben"],
    async (ann, ben) => {
      const place = await make(ann.page, "Goes on");
      await write(ann.page, "before");
      await enter(ben.page, place);
      await reads(ben.page, "before");
      await ask("end the gateway");
      for (const { page } of [ann, ben]) await page.getByText(/^(Reconnecting|Offline)$/).waitFor();
      await content(ann.page).click();
      await ann.page.keyboard.press("ControlOrMeta+End");
      await ann.page.keyboard.insertText(" meanwhile");
      await ask("start the gateway");
      for (const { page } of [ann, ben]) await isLive(page);
      await reads(ben.page, "before meanwhile");
      await write(ben.page, programs.asks);
      await reads(ann.page, (it) => it.includes("Name?"));
      await run(ann.page).click();
      for (const { page } of [ann, ben]) await prints(page, "Name?");
      await ben.page.getByRole("button", { name: /^Stop/ }).click();
      await ann.page.locator(".bar").getByText("Stopped").waitFor();
    },
    CUT,
  ));

test("a room is made, written in and run with the keyboard alone", () =>
  among(["Ann Lee"], async ({ page }) => {
    await page.goto("/rooms");
    await page.getByLabel("Begin with").selectOption(programs.language);
    await page.getByLabel("Name", { exact: true }).focus();
    await page.keyboard.type("By hand");
    await page.keyboard.press("Enter");
    await isLive(page);
    await content(page).focus();
    await page.keyboard.press("ControlOrMeta+Enter");
    await page.locator(".results").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.classList.contains("source")), false, "the editor keeps the focus");
    await page.getByRole("button", { name: "Invite" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Invite others" }).waitFor();
    await page.keyboard.press("Escape");
    assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ""), /Invite/);
  }));

for (const look of LOOKS) {
  test(`rooms are accessible, ${called(look)}`, () =>
    among(
      ["Ann Lee", "Ben"],
      async (ann, ben) => {
        const place = await make(ann.page, LONG);
        await isAccessible(ann.page, "a room");
        await enter(ben.page, place);
        await run(ann.page).click();
        await ben.page.locator(".results").waitFor();
        await content(ann.page).click();
        await ann.page.keyboard.press("ControlOrMeta+a");
        await ben.page.locator(".cm-remote").first().waitFor();
        await isAccessible(ben.page, "a room with two people");
        await fits(ben.page, "a room with two people");
        for (const name of [/^Who is here/, "Invite"]) {
          await ann.page.getByRole("button", { name }).click();
          await isAccessible(ann.page, `the dialog ${name}`);
          await fits(ann.page, `the dialog ${name}`);
          await ann.page.keyboard.press("Escape");
        }
        await ann.page.goto("/rooms");
        await ann.page.getByRole("link", { name: LONG }).waitFor();
        await isAccessible(ann.page, "the rooms");
        await fits(ann.page, "the rooms");
      },
      look,
    ));
}

test(`a room loads no more than ${BUDGET >> 10} KB`, () =>
  among(["Ann Lee"], async ({ page }) => {
    const place = await make(page, "Light");
    await enter(page, place);
    const bytes = await page.evaluate(() => {
      const own = (it) => it.name.includes("/assets/") || it.entryType === "navigation";
      const all = [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].filter(own);
      return all.reduce((sum, it) => sum + it.encodedBodySize, 0);
    });
    console.log(`a room loads ${Math.round(bytes / 1024)} KB`);
    assert.ok(bytes > 0 && bytes < BUDGET, `${bytes} bytes`);
  }));
