import { h, render } from "preact";
import { afterEach, expect, it, vi } from "vitest";

import FleetPage from "../../page/fleet/page";
import { go } from "../../page/shell/router";

afterEach(() => {
  render(null, document.body);
  vi.unstubAllGlobals();
});

it("asks for what the address says, however it came to say that", async () => {
  const asked: string[] = [];
  vi.stubGlobal("scrollTo", () => undefined);
  vi.stubGlobal("fetch", (path: string) => {
    asked.push(new URLSearchParams(path.split("?")[1]).get("window") ?? "");
    return new Promise(() => undefined);
  });
  go("/?window=24h");
  render(h(FleetPage, { params: {} }), document.body);
  const checked = () => document.querySelector<HTMLInputElement>("input:checked")?.value;
  const is = (window: string) => vi.waitFor(() => expect([asked.at(-1), checked()]).toEqual([window, window]), { timeout: 30_000 });
  await is("24h");
  document.querySelector<HTMLInputElement>("input[value='10m']")?.click();
  await is("10m");
  go("/");
  await is("1h");
  expect(asked).toEqual(["24h", "10m", "1h"]);
});
