import { expect, it } from "vitest";

import { pack, SHARE_MAX, TooLarge, unpack } from "../../page/play/share";

const shared = { language: "alpha", files: [{ path: "a.x", content: "print('ü 🦀')\n" }], args: "--x", input: "in" };

it("gives back what was packed", async () => {
  const fragment = await pack(shared);
  expect(fragment).toMatch(/^program=[\w-]+$/);
  expect(await unpack(`#${fragment}`)).toEqual(shared);
});

it("says that a program is too large", async () => {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(SHARE_MAX)), (it) => it.toString(36)).join("");
  await expect(pack({ ...shared, files: [{ path: "a.x", content: random }] })).rejects.toThrow(TooLarge);
});

it("reads nothing that it did not pack", async () => {
  const wrong = ["", "#program=", "#program=!!!", "#program=AAAA", "#other=1"];
  for (const it of wrong) expect(await unpack(it), it).toBeUndefined();
  for (const value of [{}, [2], [1, "a", [], "", ""], [1, "a", [["x"]], "", ""]]) {
    expect(await unpack(await packed(JSON.stringify(value))), JSON.stringify(value)).toBeUndefined();
  }
});

it("does not unpack what would fill the memory", async () => {
  const bomb = JSON.stringify([1, "a", [["a.x", "x".repeat(3 << 20)]], "", ""]);
  const fragment = await packed(bomb);
  expect(fragment.length).toBeLessThan(SHARE_MAX);
  expect(await unpack(fragment)).toBeUndefined();
});

async function packed(text: string): Promise<string> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `#program=${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}
