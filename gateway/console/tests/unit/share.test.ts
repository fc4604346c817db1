import { afterEach, expect, it, vi } from "vitest";

import { kept, linkTo, pack, SHARE_MAX, TooLarge, unpack } from "../../page/play/share";

const shared = { language: "alpha", files: [{ path: "a.x", content: "print('ü 🦀')\n" }], args: "--x", input: "in" };

/** What deflate makes nothing of. */
let noise = "";
function large() {
  for (let seed = 1; noise.length < 3 * SHARE_MAX; seed = (seed * 48_271) % 2_147_483_647) noise += seed.toString(36);
  return { ...shared, files: [{ path: "a.x", content: noise }] };
}

afterEach(() => vi.unstubAllGlobals());

it("gives back what was packed", async () => {
  const fragment = await pack(shared);
  expect(fragment).toMatch(/^program=[\w-]+$/);
  expect(await unpack(`#${fragment}`)).toEqual(shared);
});

it("holds in the link what fits into one", async () => {
  expect(await linkTo(shared)).toEqual({ href: `/play#${await pack(shared)}`, isStored: false });
});

it("has the gateway keep what does not, and gets it back", async () => {
  let body = "";
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    if (init.method === "POST" && path === "/v1/snippets") body = String(init.body);
    return Response.json(init.method === "POST" ? { id: "ab/c", path: "" } : JSON.parse(body), { status: 201 });
  });
  expect(await linkTo(large())).toEqual({ href: "/play?snippet=ab%2Fc", isStored: true });
  expect(await kept("ab/c")).toEqual(large());
});

it.each([
  [503, /8192 is the most.*keeps no programs/],
  [404, /8192 is the most.*keeps no programs/],
  [501, /8192 is the most.*keeps no programs/],
  [413, /larger than what the gateway keeps/],
])("says that a program is too large for a gateway that answers %i", async (status, text) => {
  vi.stubGlobal("fetch", async () => Response.json({ code: status === 503 ? "no_store" : "other", detail: "y" }, { status }));
  const error = await linkTo(large()).catch((it: unknown) => it);
  expect(error).toBeInstanceOf(TooLarge);
  expect((error as Error).message).toMatch(text);
});

it("tells what else goes wrong as the gateway does", async () => {
  vi.stubGlobal("fetch", async () => Response.json({ code: "rate_limited", detail: "slower" }, { status: 429 }));
  await expect(linkTo(large())).rejects.toMatchObject({ status: 429, message: "slower" });
});

it.each([{}, { version: 2 }, { version: 1, language: "a", files: [{}], args: "", input: "" }, { version: 1, language: "a", files: 1 }])(
  "takes no kept thing for a program that is none: %j",
  async (value) => {
    vi.stubGlobal("fetch", async () => Response.json(value));
    expect(await kept("id")).toBeUndefined();
  },
);

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
