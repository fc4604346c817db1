/** A browser on a page of a fleet that runs, which notices every request elsewhere and every complaint of the page. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { after, before } from "node:test";

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
/** Each size begins in another scheme; `isAccessible` looks at both. */
export const LOOKS = [
  { viewport: WIDE, scheme: "light" },
  { viewport: NARROW, scheme: "dark" },
];
export const called = ({ viewport, scheme }) => `${viewport === WIDE ? "wide" : "narrow"} and ${scheme} at first`;
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

/** Visits a page, lets `look` have it, and fails for whatever the page should not have done. */
export async function during(browser, url, path, look, options = {}) {
  const { page, context, faults } = await visit(browser, url, path, options);
  try {
    await look(page, context);
    assert.deepEqual(faults, [], "the page did what it must not");
  } finally {
    await context.close();
  }
}

/** Has all tests of a file in one browser. Returns how they look at a page: at `url`, unless it is told another. */
export function inBrowser(url) {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());
  return (path, look, options = {}) => during(browser, options.url ?? url, path, look, options);
}

/** The playground, once it is there, with a language chosen. */
export async function atDesk(page, language) {
  await page.locator(".cm-content").waitFor();
  await page.getByLabel("Language", { exact: true }).selectOption(language);
}

export const runButton = (page) => page.getByRole("button", { name: /^Run/ });

/** Waits until something is so. */
export async function until(is, what = "that", patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  while (!(await is())) {
    assert.ok(Date.now() < end, `it does not come to ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const UNITS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Whether a time that the page shows, as `12 ms` or `1 min 5 s`, is so many milliseconds, as closely as it is told. */
export function isTime(shown, ms, what) {
  const parts = [...shown.matchAll(/([\d.]+) (ms|s|min|h|d)\b/g)];
  assert.ok(parts.length > 0, `${what} is no time: ${shown}`);
  const told = parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
  const [, last, unit] = parts.at(-1);
  // Ages are cut, all else is rounded.
  const step = UNITS[unit] / 10 ** (last.split(".")[1]?.length ?? 0);
  assert.ok(told - step <= ms && ms <= told + step, `${what} is ${shown}, and not ${ms} ms`);
}

/** Writes a program into the editor, in place of what is there. */
export async function write(page, text) {
  const content = page.locator(".cm-content");
  await content.click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.press("Delete");
  await page.keyboard.insertText(text);
}

/** Looks at what is there in both schemes, and leaves the page in the one that it was in. */
export async function isAccessible(page, what) {
  // As an argument of the debugger it needs no leave of the page's policy.
  await page.evaluate(axe);
  const first = await page.evaluate(() => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  for (const colorScheme of [first === "dark" ? "light" : "dark", first]) {
    await page.emulateMedia({ colorScheme });
    await settled(page);
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations } = await page.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }), tags);
    const told = violations.map((it) => `${it.id}: ${it.help}\n    ${it.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n    ")}`);
    assert.deepEqual(told, [], `${what} has faults of accessibility, ${colorScheme}`);
    assert.deepEqual(await page.evaluate(palePlaceholders), [], `${what} has placeholders that are too pale, ${colorScheme}`);
  }
}

/** Fields whose placeholder has not enough contrast, which axe does not look at. */
function palePlaceholders() {
  const luminance = (colour) => {
    const [red, green, blue] = colour.match(/[\d.]+/g).map((it) => {
      const value = it / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (it) => {
    const all = [getComputedStyle(it, "::placeholder").color, getComputedStyle(it).backgroundColor].map(luminance).sort((a, b) => a - b);
    return (all[1] + 0.05) / (all[0] + 0.05);
  };
  const fields = [...document.querySelectorAll("[placeholder]")].filter((it) => !it.disabled && it.checkVisibility());
  return fields.filter((it) => !(ratio(it) >= 4.5)).map((it) => `${it.placeholder}: ${ratio(it).toFixed(2)}`);
}

/** Until what changes has changed, and what scripts draw is drawn. */
async function settled(page) {
  const frames = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  await frames();
  const changes = () => page.evaluate(() => document.getAnimations().filter((it) => it.effect?.getComputedTiming().endTime !== Infinity).length);
  // A colour that is inherited begins to change once it has above.
  while ((await changes()) > 0) await frames();
}

/** How far anything may have jumped since a page began to load, as browsers measure it: below 0.1 counts as good. */
const SHIFT_MAX = 0.02;

export async function keepsStill(page, what) {
  await settled(page);
  const shifts = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const tell = (list) => {
          const told = list.getEntries().filter((it) => !it.hadRecentInput);
          resolve(told.map(({ value, sources }) => ({ value, of: sources.map((it) => it.node?.className || it.node?.nodeName) })));
        };
        new PerformanceObserver(tell).observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve([]), 500);
      }),
  );
  const sum = shifts.reduce((all, it) => all + it.value, 0);
  assert.ok(sum <= SHIFT_MAX, `${what} jumps by ${sum}: ${JSON.stringify(shifts)}`);
}

/** Whoever wants less motion has nothing that moves for ever, also within what hides its own tree. */
export async function isAtRest(page, what) {
  const moving = await page.evaluate(() => {
    const roots = [document];
    for (const root of roots) for (const it of root.querySelectorAll("*")) if (it.shadowRoot) roots.push(it.shadowRoot);
    const endless = (it) => it.playState === "running" && it.effect?.getComputedTiming().endTime === Infinity;
    const all = new Set(roots.flatMap((it) => it.getAnimations({ subtree: true })).filter(endless));
    return [...all].map((it) => `${it.animationName ?? it.id} of ${it.effect.target.className}`);
  });
  assert.deepEqual(moving, [], `${what} moves`);
}

/** What a program writes is not said aloud line by line: the page announces its end, and nothing here speaks for itself. */
export async function isSilent(page, where, what) {
  const loud = await page.locator(where).evaluate((it) => {
    const implied = { status: "polite", log: "polite", alert: "assertive" };
    const voice = (it) => it.getAttribute("aria-live") ?? implied[it.getAttribute("role")] ?? "polite";
    const all = it.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log], output");
    return [...all].filter((it) => voice(it) !== "off").map((it) => it.outerHTML.slice(0, 120));
  });
  assert.deepEqual(loud, [], `${what} speaks`);
}

export async function fits(page, what) {
  // Where a place is kept for a scrollbar the page is less wide than the screen.
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(overflow <= 0, `${what} is wider than the screen by ${overflow}`);
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
