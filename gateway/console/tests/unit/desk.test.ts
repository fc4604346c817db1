import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Draft, Language } from "../../page/play/program";

type Desk = typeof import("../../page/play/desk");

const LANGUAGES = ["one", "two"].map((id) => ({ id, entry: `main.${id}`, example: `first ${id}`, versions: ["1"], examples: [], available: true }));
const draft = (content: string): Draft => ({ files: [{ path: "main.one", content }], args: "", input: "" });

beforeEach(() => vi.useFakeTimers());

afterEach(() => {
  vi.useRealTimers();
  localStorage.clear();
});

/** A tab that reads what is kept, as after a reload. */
async function tab(): Promise<Desk> {
  vi.resetModules();
  const desk = await import("../../page/play/desk");
  desk.languages.value = LANGUAGES as unknown as Language[];
  return desk;
}

const write = (desk: Desk, content: string) => desk.changeFile(0, { content });
const source = (desk: Desk) => desk.draft.value.files[0]?.content;
const saved = () => vi.advanceTimersByTimeAsync(1000);

it("gives one's own program back after any number of others, and after a reload", async () => {
  let desk = await tab();
  write(desk, "mine");
  desk.put("an example", draft("a"));
  desk.put("another", draft("b"));
  await saved();
  desk = await tab();
  desk.put("a third", draft("c"));
  expect([source(desk), desk.before.value?.what]).toEqual(["c", "a third"]);
  desk.takeBack();
  expect([source(desk), desk.before.value]).toEqual(["mine", undefined]);
});

it("takes what was changed since for one's own", async () => {
  const desk = await tab();
  write(desk, "mine");
  desk.put("an example", draft("a"));
  write(desk, "a, changed");
  desk.put("another", draft("b"));
  desk.takeBack();
  expect(source(desk)).toBe("a, changed");
});

it("calls no example one's own", async () => {
  const desk = await tab();
  desk.put("an example", draft("a"));
  desk.put("another", draft("b"));
  expect(desk.before.value).toBeUndefined();
  write(desk, "mine");
  desk.put("an example", draft("a"));
  desk.leaveBe();
  desk.put("another", draft("b"));
  expect(desk.before.value).toBeUndefined();
});

it("keeps what made room in each language", async () => {
  const desk = await tab();
  write(desk, "mine in one");
  desk.put("an example", draft("a"));
  desk.chooseLanguage("two");
  write(desk, "mine in two");
  desk.put("the shared program", draft("b"), "two");
  desk.takeBack();
  expect(source(desk)).toBe("mine in two");
  desk.chooseLanguage("one");
  desk.takeBack();
  expect(source(desk)).toBe("mine in one");
});

it("replaces only what this tab changed", async () => {
  const first = await tab();
  const second = await tab();
  write(first, "of the first");
  first.changeLimits({ memoryMb: 64 });
  await saved();
  second.chooseLanguage("two");
  write(second, "of the second");
  second.changeLimits({ timeout: 3 });
  await saved();
  const third = await tab();
  expect([third.language.value?.id, source(third), third.limits.value]).toMatchObject(["two", "of the second", { memoryMb: 64, timeout: 3 }]);
  third.chooseLanguage("one");
  expect(source(third)).toBe("of the first");
});

it("sees what another tab wrote when it comes to that language", async () => {
  const first = await tab();
  const second = await tab();
  first.chooseLanguage("two");
  write(first, "of the first");
  await saved();
  write(second, "of the second");
  second.chooseLanguage("two");
  expect(source(second)).toBe("of the first");
  second.chooseLanguage("one");
  expect(source(second)).toBe("of the second");
  second.put("the shared program", draft("b"), "two");
  second.takeBack();
  expect(source(second)).toBe("of the first");
});

it("keeps what is on the desk where there is no room for what was there before", async () => {
  const desk = await tab();
  write(desk, "mine".repeat(100));
  desk.put("an example", draft("a"));
  const set = vi.spyOn(Storage.prototype, "setItem").mockImplementation(function (this: Storage, name, text) {
    if (text.length > 400) throw new Error("full");
    set.mockRestore();
    localStorage.setItem(name, text);
  });
  await saved();
  expect(desk.isLost.value).toBe(false);
  expect(source(await tab())).toBe("a");
});
