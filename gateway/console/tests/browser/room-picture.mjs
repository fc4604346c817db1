/** Two people in a room, in the middle of their work: for the picture that README.md begins with. */
import { visit, write } from "./support.mjs";

const LANGUAGE = "python";
const PROGRAM = `from collections import Counter


def bar(times):
    """As long as a word is frequent."""
    return "\\x1b[36m" + "▇" * times * 4 + "\\x1b[0m"


line = input("Write something: ")
words = Counter(line.lower().split())

for word, times in words.most_common(3):
    print(f"{word:6}", bar(times), times)

print("longest:", max(words, key=len))
`;
const TYPED = "the sea and the sky and the harbour";

async function somebody(browser, url, name, colour, look) {
  const { page, context } = await visit(browser, url, undefined, look);
  await page.addInitScript(
    (kept) => {
      for (const [key, value] of Object.entries(kept)) localStorage.setItem(`flotilla.${key}`, value);
    },
    { name, colour },
  );
  return { page, context };
}

/** Puts the cursor at a line and column, both from 1, and selects so many characters from there. */
async function point(page, line, column, length) {
  await page.locator(".cm-content").focus();
  await page.keyboard.press("ControlOrMeta+Home");
  for (let at = 1; at < line; at += 1) await page.keyboard.press("ArrowDown");
  for (let at = 1; at < column; at += 1) await page.keyboard.press("ArrowRight");
  for (let at = 0; at < length; at += 1) await page.keyboard.press("Shift+ArrowRight");
}

/** The room as one of them sees it. */
export async function together(browser, url, look) {
  const ann = await somebody(browser, url, "Ann Lee", "4", look);
  const ben = await somebody(browser, url, "Ben Okafor", "1", look);
  await ann.page.goto("/rooms");
  await ann.page.getByLabel("Name", { exact: true }).fill("Counting words");
  await ann.page.getByLabel("Begin with").selectOption(LANGUAGE);
  await ann.page.getByRole("button", { name: "Make the room" }).click();
  await ann.page.locator(".cm-content").waitFor();
  await ann.page.locator(".standing-pass").waitFor();
  await write(ann.page, PROGRAM);
  await ben.page.goto(new URL(ann.page.url()).pathname);
  await ben.page.locator(".cm-content").getByText("longest").waitFor();
  await ann.page.getByRole("button", { name: /^Run(?!s)/ }).click();
  await ben.page.getByLabel("Input", { exact: true }).fill(TYPED);
  await ben.page.keyboard.press("Enter");
  await ann.page.locator(".results").waitFor();
  await ann.page.getByRole("button", { name: /^Runs/ }).waitFor();
  await point(ben.page, 12, 5, 11);
  await point(ann.page, 4, 16, 0);
  await ann.page.locator(".cm-flag", { hasText: "Ben Okafor" }).waitFor();
  await ann.page.evaluate(() => scrollTo(0, 0));
  return {
    page: ann.page,
    async close() {
      await ann.context.close();
      await ben.context.close();
    },
  };
}
