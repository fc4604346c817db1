import { h, render } from "preact";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { Keys } from "../../page/shell/keys";

const dialog = () => document.querySelector("dialog");

/** Presses a key where somebody is; whether the page took it. */
function press(key: string, at: Element = document.body, more: KeyboardEventInit = {}): boolean {
  return !at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, composed: true, cancelable: true, ...more }));
}

beforeEach(async () => {
  document.body.innerHTML = '<div id="page"></div><div data-filters><select id="first"></select><select></select></div><input id="field"><div id="editor"></div>';
  render(h(Keys, null), document.getElementById("page")!);
  const editor = document.getElementById("editor")!.attachShadow({ mode: "open" });
  editor.innerHTML = '<div contenteditable="true"><p></p></div>';
  await vi.waitFor(() => expect(press("/")).toBe(true), { timeout: 30_000 });
  (document.activeElement as HTMLElement).blur();
});

afterEach(() => {
  render(null, document.getElementById("page")!);
  localStorage.clear();
});

it("lead to the first filter, and to the list of keys", async () => {
  expect(press("/")).toBe(true);
  expect(document.activeElement?.id).toBe("first");
  expect(press("?")).toBe(true);
  await vi.waitFor(() => expect(dialog()?.open).toBe(true), { timeout: 30_000 });
  expect(press("/")).toBe(false);
  [...dialog()!.querySelectorAll("button")].at(-1)?.click();
  await vi.waitFor(() => expect(dialog()).toBeNull(), { timeout: 30_000 });
});

it("are left to whoever types, and to chords", () => {
  const editor = document.getElementById("editor")!.shadowRoot!.querySelector("p")!;
  for (const at of [document.getElementById("field")!, document.getElementById("first")!, editor]) {
    expect([press("/", at), press("?", at)]).toEqual([false, false]);
  }
  expect([press("/", document.body, { ctrlKey: true }), press("?", document.body, { altKey: true })]).toEqual([false, false]);
  document.querySelector("[data-filters]")?.remove();
  expect(press("/")).toBe(false);
});

it("can be turned off, and on again", async () => {
  const open = async () => {
    document.querySelector("button")?.click();
    await vi.waitFor(() => expect(dialog()?.open).toBe(true), { timeout: 30_000 });
  };
  const turn = async () => {
    await open();
    dialog()!.querySelector("input")?.click();
    [...dialog()!.querySelectorAll("button")].at(-1)?.click();
    await vi.waitFor(() => expect(dialog()).toBeNull(), { timeout: 30_000 });
  };
  await turn();
  expect([press("/"), press("?"), localStorage.getItem("flotilla.keys")]).toEqual([false, false, "off"]);
  await turn();
  expect([press("/"), localStorage.getItem("flotilla.keys")]).toEqual([true, null]);
});
