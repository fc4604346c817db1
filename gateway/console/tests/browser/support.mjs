/** A browser on a page of a fleet that runs, which notices every request elsewhere and every complaint of the page. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";

import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--disable-gpu",
];
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 844 };
export const LOOKS = [
  { viewport: WIDE, scheme: "light" },
  { viewport: WIDE, scheme: "dark" },
  { viewport: NARROW, scheme: "light" },
  { viewport: NARROW, scheme: "dark" },
];
export const called = ({ viewport, scheme }) => `${viewport === WIDE ? "wide" : "narrow"} and ${scheme}`;
/** How long anything may take before a test gives up. */
export const PATIENCE_MS = 30_000;

export async function launch() {
  const executablePath = PLACES.find((it) => existsSync(it));
  if (!executablePath) throw new Error("there is no chromium; gateway/console/tests/install says how to bring it");
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Opens a page of its own profile; `faults` fills with what must not be. */
export async function visit(browser, url, path, { viewport = WIDE, scheme = "light", ...options } = {}) {
  const context = await browser.newContext({
    baseURL: url,
    viewport,
    colorScheme: scheme,
    reducedMotion: "reduce",
    isMobile: viewport === NARROW,
    hasTouch: viewport === NARROW,
    deviceScaleFactor: options.scale ?? 1,
    permissions: ["clipboard-read", "clipboard-write"],
    locale: "en-GB",
    timezoneId: "UTC",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  await context.route("**/*", (route) => {
    const asked = route.request().url();
    if (asked.startsWith(url) || asked.startsWith("data:") || asked.startsWith("blob:")) return route.continue();
    faults.push(`a request to another origin: ${asked}`);
    return route.abort();
  });
  page.on("pageerror", (error) => faults.push(`an error: ${error.stack ?? error}`));
  page.on("console", (message) => {
    const isExpected = options.expects?.some((it) => it.test(message.text()));
    if (["error", "warning"].includes(message.type()) && !isExpected) faults.push(`the console says: ${message.text()}`);
  });
  if (path) await page.goto(path);
  return { page, context, faults };
}

/** Writes a program into the editor, in place of what is there. */
export async function write(page, text) {
  const content = page.locator(".cm-content");
  await content.click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

export async function isAccessible(page, what) {
  // As an argument of the debugger it needs no leave of the page's policy.
  await page.evaluate(axe);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), tags);
  const told = violations.map((it) => `${it.id}: ${it.help}\n    ${it.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n    ")}`);
  assert.deepEqual(told, [], `${what} has faults of accessibility`);
}

export async function fits(page, what) {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${what} is wider than the screen by ${overflow}`);
}

/** A way to a server that can be cut, and be there again. */
export async function wire(target) {
  const { port } = new URL(target);
  const sockets = new Set();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    const far = connect(Number(port), "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => sockets.delete(one));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    close() {
      this.cut();
      server.close();
    },
  };
}
