/**
 * Writes every page as a picture: light and dark, wide and narrow.
 *
 *   node tests/browser/pictures.mjs URL FOLDER
 *
 * Run it against a fleet that `seed.mjs` had do something.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { together } from "./room-picture.mjs";
import { launch, NARROW, visit, WIDE } from "./support.mjs";

const [url = "http://127.0.0.1:8000", folder = "pictures"] = process.argv.slice(2);

const PLACES = [
  { name: "fleet", path: "/?window=10m", ready: async (page) => page.locator(".executor").first().waitFor() },
  {
    name: "play",
    path: "/play",
    ready: async (page) => {
      await page.locator(".cm-content").waitFor();
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".results").waitFor();
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
];

mkdirSync(folder, { recursive: true });
const browser = await launch();
for (const [size, viewport] of Object.entries({ wide: WIDE, narrow: NARROW })) {
  for (const scheme of ["light", "dark"]) {
    for (const { name, path, ready } of PLACES) {
      const { page, context } = await visit(browser, url, path, { viewport, scheme });
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
