import { afterEach, expect, it, vi } from "vitest";

import { load } from "../../page/lib/data";
import { forgetKey, keepKey } from "../../page/lib/key";

afterEach(() => {
  forgetKey();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function answer(body: BodyInit, type: string) {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (_: string, { headers }: RequestInit) => {
    asked.push(new Headers(headers).get("authorization") ?? "");
    return new Response(body, { headers: { "content-type": type } });
  });
  return asked;
}

it("is asked for with the key, and is only ever text", async () => {
  keepKey("0123456789abcdef");
  const asked = answer('{"a":"<script>"}', "text/html");
  const data = await load("/v1/jobs");
  expect([await data.text(), data.type, asked]).toEqual(['{"a":"<script>"}', "text/plain;charset=utf-8", ["Bearer 0123456789abcdef"]]);
});

it("of events is what has come by then", async () => {
  vi.useFakeTimers();
  const events = new ReadableStream({ start: (it) => it.enqueue(new TextEncoder().encode("data: 1\n\n")) });
  answer(events, "text/event-stream");
  const data = load("/v1/jobs/1/events");
  await vi.advanceTimersByTimeAsync(2100);
  expect(await (await data).text()).toBe("data: 1\n\n");
});
