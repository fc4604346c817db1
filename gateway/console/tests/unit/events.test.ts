import { expect, it } from "vitest";

import { EventParser } from "../../page/lib/events";

function check(chunks: string[], expected: unknown[]) {
  const parser = new EventParser();
  expect(chunks.flatMap((chunk) => parser.push(chunk))).toEqual(expected);
}

it("reads events however they are cut", () => {
  check(["event: a\nda", "ta: 1\n", "\ndata: 2\n\n"], [
    { event: "a", data: "1" },
    { event: "message", data: "2" },
  ]);
});

it("leaves comments out, and joins lines of data", () => {
  check([": alive\n\nid: 7\ndata: a\ndata: b\n\n"], [{ event: "message", data: "a\nb", id: "7" }]);
});

it("tells nothing of an event that is not whole", () => {
  check(["data: 1\n"], []);
});
