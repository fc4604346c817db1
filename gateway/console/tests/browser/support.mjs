/** A browser on a page of a fleet that runs, which notices every request elsewhere and every complaint of the page. */
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

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
