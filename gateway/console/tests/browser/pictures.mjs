/**
 * Writes every page as a picture: light and dark, wide and narrow.
 *
 *   node tests/browser/pictures.mjs URL FOLDER
 *
 * Run it against a fleet that `seed.mjs` has just had do something for ten minutes, all of which are in the
 * picture of it.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { together } from "./room-picture.mjs";
import { launch, NARROW, until, visit, WIDE, write } from "./support.mjs";

const [url = "http://127.0.0.1:8000", folder = "pictures"] = process.argv.slice(2);

const ON_A_TERMINAL = `import os

wide, high = os.get_terminal_size()
print(f"\\x1b[2mA terminal of {wide} by {high}\\x1b[0m")
name = input("Who are you? ")

for red in range(wide):
    print(f"\\x1b[48;2;{255 * red // wide};90;160m ", end="")
print("\\x1b[0m")
print(f"Good morning, \\x1b[1;32m{name}\\x1b[0m.".center(wide))
`;

/** Until each strip knows nearly all of its 60 steps of 10 s. */
async function filled(page) {
  const known = () => page.locator(".strip").evaluateAll((all) => all.map((it) => it.querySelectorAll(".beat:not(.beat-none)").length));
  const isFilled = (counts) => counts.length > 0 && counts.every((it) => it >= 57);
  await until(async () => isFilled(await known()), "a history of ten minutes", 11 * 60_000);
}

const PLACES = [
  { name: "fleet", path: "/?window=10m", ready: filled },
  {
    name: "play",
    path: "/play",
    ready: async (page) => {
      await page.locator(".cm-content").waitFor();
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".results").waitFor();
    },
  },
  {
    name: "terminal",
    path: "/play",
    ready: async (page) => {
      await page.locator(".cm-content").waitFor();
      await page.getByLabel("Language", { exact: true }).selectOption("python");
      await write(page, ON_A_TERMINAL);
      await page.getByRole("switch", { name: "Terminal" }).click();
      await page.locator(".xterm").waitFor();
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".xterm-accessibility-tree").getByText("Who are you?").waitFor();
      await page.keyboard.type("Ann");
      await page.keyboard.press("Enter");
      await page.locator(".results").waitFor();
    },
  },
  {
    name: "rooms",
    path: "/rooms",
    kept: { name: "Ann Lee", colour: "4" },
    ready: async (page) => {
      for (const title of ["Counting words", "Two heads"]) {
        await page.getByLabel("Name", { exact: true }).fill(title);
        await page.getByRole("button", { name: "Make the room" }).click();
        await page.locator(".standing-pass").waitFor();
        await page.goto("/rooms");
      }
      await page.getByRole("link", { name: "Two heads" }).waitFor();
    },
  },
  { name: "jobs", path: "/jobs", ready: async (page) => page.locator(".job-table").waitFor() },
  {
    name: "job",
    path: "/jobs?state=succeeded",
    ready: async (page) => {
      await page.locator(".cell-job a").last().click();
      await page.locator(".result-facts").waitFor();
      await page.locator(".code-text").waitFor();
    },
  },
  { name: "workers", path: "/jobs/workers", ready: async (page) => page.locator(".worker").first().waitFor() },
  { name: "callbacks", path: "/jobs/callbacks", ready: async (page) => page.locator(".callbacks, .notice").first().waitFor() },
  {
    name: "docs",
    path: "/docs",
    ready: async (page) => {
      await page.locator("#executors tr").first().waitFor();
      await page.getByLabel("Language").selectOption("python");
      await page.getByRole("button", { name: "Run" }).click();
      await page.locator("#status.pass").waitFor();
    },
  },
];

mkdirSync(folder, { recursive: true });
const browser = await launch();
for (const [size, viewport] of Object.entries({ wide: WIDE, narrow: NARROW })) {
  for (const scheme of ["light", "dark"]) {
    for (const { name, path, kept = {}, ready } of PLACES) {
      const { page, context } = await visit(browser, url, undefined, { viewport, scheme });
      await page.addInitScript((all) => {
        for (const [key, value] of Object.entries(all)) localStorage.setItem(`flotilla.${key}`, value);
      }, kept);
      await page.goto(path);
      await ready(page);
      await page.waitForTimeout(300);
      await page.screenshot({ path: join(folder, `${name}-${size}-${scheme}.png`), fullPage: size === "narrow" });
      await context.close();
    }
    const { page, close } = await together(browser, url, { viewport, scheme });
    await page.screenshot({ path: join(folder, `room-${size}-${scheme}.png`), fullPage: size === "narrow", animations: "disabled" });
    await close();
  }
}
await browser.close();
