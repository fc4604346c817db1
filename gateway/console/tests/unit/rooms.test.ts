import { describe, expect, it } from "vitest";
import * as Y from "yjs";

import type { Language } from "../../page/play/program";
import { endingOf } from "../../page/rooms/closing";
import * as shared from "../../page/rooms/document";
import { invitationOf, takeInvitation } from "../../page/rooms/access";
import { forgetRoom, knownRooms, noteRoom, placeOf } from "../../page/rooms/known";
import { changesOf, cleanName, COLOURS, colourOf, doing, initialsOf, listed, NAME_MAX, peopleOf, type Person, personOf } from "../../page/rooms/people";
import * as unsent from "../../page/rooms/unsent";
import css from "../../page/style/tokens.css?raw";

const language = (id: string, entry: string, example: string) => ({ id, entry, example }) as Language;
const alpha = language("alpha", "main.a", "first();");
const beta = language("beta", "main.b", "second();");

/** Gives two documents what each lacks. */
function meet(a: Y.Doc, b: Y.Doc): void {
  Y.applyUpdate(a, Y.encodeStateAsUpdate(b, Y.encodeStateVector(a)));
  Y.applyUpdate(b, Y.encodeStateAsUpdate(a, Y.encodeStateVector(b)));
}

const told = (doc: Y.Doc) => shared.filesOf(doc).map((it) => [it.path, it.text.toString()]);

describe("the document of a room", () => {
  it("begins once, also when two begin it", () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()];
    shared.begin(a, alpha);
    shared.begin(b, alpha);
    meet(a, b);
    expect(told(a)).toEqual([["main.a", "first();\n"]]);
    expect(told(b)).toEqual(told(a));
    shared.begin(a, beta);
    expect(shared.metaOf(a).language).toBe("alpha");
  });

  it("has its entry first and the others by name, alike for all", () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()];
    shared.begin(a, alpha);
    meet(a, b);
    shared.addFile(a, "z.a");
    shared.addFile(b, "b.a");
    meet(a, b);
    expect(told(a).map(([path]) => path)).toEqual(["main.a", "b.a", "z.a"]);
    expect(told(b)).toEqual(told(a));
  });

  it("tells apart what two called the same", () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()];
    shared.addFile(a, "lib/it.a");
    shared.addFile(b, "lib/it.a");
    meet(a, b);
    const paths = shared.filesOf(a).map((it) => it.path);
    expect(paths).toEqual(["lib/it.a", "lib/it-2.a"]);
    expect(shared.filesOf(b).map((it) => it.id)).toEqual(shared.filesOf(a).map((it) => it.id));
  });

  it("keeps what is written while a file is renamed", () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()];
    shared.begin(a, alpha);
    meet(a, b);
    const [file] = shared.filesOf(a);
    shared.renameFile(a, file?.id ?? "", "other.a");
    shared.filesOf(b)[0]?.text.insert(0, "// 🎉 ");
    meet(a, b);
    expect(told(a)).toEqual([["other.a", "// 🎉 first();\n"]]);
    expect(told(b)).toEqual(told(a));
  });

  it("takes the next language's example only for one that nobody changed", () => {
    const doc = new Y.Doc();
    shared.begin(doc, alpha);
    shared.changeLanguage(doc, beta, alpha);
    expect(told(doc)).toEqual([["main.b", "second();\n"]]);
    shared.filesOf(doc)[0]?.text.insert(0, "own ");
    shared.changeLanguage(doc, alpha, beta);
    expect(told(doc)).toEqual([["main.a", "own second();\n"]]);
    expect(shared.metaOf(doc)).toEqual({ language: "alpha", version: undefined, args: "" });
  });

  it("leaves a file alone that is called otherwise, and never makes two of one name", () => {
    const doc = new Y.Doc();
    shared.begin(doc, alpha);
    shared.addFile(doc, "main.b");
    shared.changeLanguage(doc, beta, alpha);
    expect(told(doc).map(([path]) => path)).toEqual(["main.a", "main.b"]);
  });

  it("believes nothing of what others may have written", () => {
    const doc = new Y.Doc();
    doc.getMap("files").set("text", "no file");
    doc.getMap("files").set("pathless", new Y.Map([["text", new Y.Text("x")]]));
    doc.getMap("files").set("textless", new Y.Map([["path", "x"]]));
    doc.getMap("meta").set("language", 7);
    doc.getArray("runs").push([null, 7, { author: "ann" }, { id: "run_1", author: 7 }]);
    expect(shared.filesOf(doc)).toEqual([]);
    expect(shared.metaOf(doc).language).toBeUndefined();
    expect(shared.runsOf(doc)).toEqual([{ id: "run_1", author: "", at: "" }]);
  });

  it("tells its last run first", () => {
    const doc = new Y.Doc();
    doc.getArray("runs").push([
      { id: "run_1", author: "ann", at: "2026-01-01T00:00:00Z" },
      { id: "run_2", author: "ben", at: "2026-01-01T00:01:00Z" },
    ]);
    expect(shared.runsOf(doc).map((it) => it.id)).toEqual(["run_2", "run_1"]);
  });

  it("is a program with its arguments", () => {
    const doc = new Y.Doc();
    shared.begin(doc, alpha);
    shared.changeMeta(doc, { args: "one 'two words'" });
    expect(shared.draftIn(doc)).toEqual({ files: [{ path: "main.a", content: "first();\n" }], args: "one 'two words'", input: "" });
  });
});

describe("a connection that ends", () => {
  it.each([
    [4400, "anew"],
    [4401, "again"],
    [4403, "rooms"],
    [4404, "rooms"],
    [4410, "rooms"],
    [4413, "anew"],
    [4499, "again"],
  ])("with %s is explained, and the way out is %s", (code, way) => {
    const ending = endingOf(code);
    expect(ending?.way).toBe(way);
    expect(ending?.title && ending.advice).toBeTruthy();
  });

  it("says that an invitation may have been withdrawn meanwhile", () => expect(endingOf(4401)?.advice).toMatch(/invitation .* withdrawn/));

  it.each([1000, 1006, 1011, 4399, 4500, 4503, 4507, 4529, 4531])("with %s is opened again", (code) => expect(endingOf(code)).toBeUndefined());
});

describe("people", () => {
  const person = (client: number, colour: number, since: number): Person => personOf(client, { user: { name: `n${client}`, colour }, since }, 1);

  it.each([
    ["  Ann \n Lee ", "Ann Lee"],
    ["\u202eevil\u0000", "evil"],
    ["👩‍👩‍👧 and co", "👩‍👩‍👧 and co"],
    [" \u200b ", ""],
  ])("called %j are %j", (name, clean) => expect(cleanName(name)).toBe(clean));

  it("have short names, of whole signs", () => {
    expect(cleanName("x".repeat(500))).toHaveLength(NAME_MAX);
    const long = cleanName("👩‍👩‍👧".repeat(50));
    expect(new TextEncoder().encode(long).length).toBeLessThanOrEqual(64);
    expect(long.length % "👩‍👩‍👧".length).toBe(0);
  });

  it.each([
    ["Ann Lee", "AL"],
    ["ann", "A"],
    ["Ann van der Lee", "AL"],
    ["👩‍👩‍👧 x", "👩‍👩‍👧X"],
    ["", "?"],
  ])("called %j have the initials %j", (name, initials) => expect(initialsOf(name)).toBe(initials));

  it("are listed with oneself first", () => {
    const states = new Map<number, unknown>([
      [3, { user: { name: "Cleo", colour: 1 }, since: 5 }],
      [2, { user: { name: "Ben", colour: 1 }, since: 9 }],
      [1, { user: { name: "Ann", colour: 1 }, since: 7 }],
    ]);
    expect(peopleOf(states, 1).map((it) => it.name)).toEqual(["Ann", "Cleo", "Ben"]);
  });

  it("may say anything", () => {
    for (const said of [null, 7, "x", {}, { user: 7, role: "king", cursor: "x" }, { user: { name: 7, colour: "red" } }]) {
      const { name, colour, role, cursor } = personOf(5, said, 1);
      expect([name, role, cursor]).toEqual(["Somebody", undefined, undefined]);
      expect(colour).toBeGreaterThanOrEqual(0);
      expect(colour).toBeLessThan(COLOURS);
    }
  });

  it("come to have colours of their own, and the first keeps theirs", () => {
    const [first, second] = [person(8, 3, 1), person(2, 3, 2)];
    expect(colourOf(first, [second])).toBe(3);
    expect(colourOf(second, [first])).toBe(4);
    expect(colourOf(second, [first, person(9, 4, 3)])).toBe(5);
    const everybody = Array.from({ length: COLOURS }, (_, it) => person(it + 10, it, 0));
    expect(colourOf(second, everybody)).toBe(3);
  });

  it("are told of when they come and go", () => {
    const [self, ann, ben] = [person(1, 0, 0), person(2, 1, 0), person(3, 2, 0)];
    expect(changesOf([self], [self, ann, ben])).toBe("n2 and n3 joined");
    expect(changesOf([self, ann], [self, ben])).toBe("n3 joined, n2 left");
    expect(changesOf([self, ann], [self, ann])).toBeUndefined();
    expect(listed(["a", "b", "c", "d", "e"])).toBe("a, b and 3 others");
  });

  it("do one thing at a time", () => {
    const states = { user: { name: "x" }, role: "editor", isTyping: true };
    expect(doing(personOf(2, states, 1))).toBe("is typing");
    expect(doing(personOf(2, { ...states, isRunning: true }, 1))).toBe("is running it");
    expect(doing(personOf(2, { role: "viewer" }, 1))).toBe("viewer");
  });
});

describe("the colours of people", () => {
  const pair = (name: string): [string, string] => {
    const [, light = "", dark = ""] = new RegExp(`--${name}: light-dark\\((#\\w+), (#\\w+)\\)`).exec(css) ?? [];
    return [light, dark];
  };
  const luminance = (colour: string): number => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (a: string, b: string): number => {
    const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  it.each(Array.from({ length: COLOURS }, (_, it) => it))("are legible: %s", (number) => {
    for (const theme of [0, 1] as const) {
      const colour = pair(`person-${number}`)[theme];
      expect(contrast(colour, pair("on-person")[theme])).toBeGreaterThanOrEqual(4.5);
      expect(contrast(colour, pair("surface")[theme])).toBeGreaterThanOrEqual(3);
    }
  });

  it("are different ones", () => expect(new Set(Array.from({ length: COLOURS }, (_, it) => pair(`person-${it}`).join())).size).toBe(COLOURS));
});

describe("what a room is opened by", () => {
  const origin = "https://fleet.example";
  it.each([
    ["room_0123", "/rooms/room_0123"],
    [`  ${origin}/rooms/room_1  `, "/rooms/room_1"],
    [`${origin}/rooms/room_1#invite=inv_00`, "/rooms/room_1#invite=inv_00"],
    ["/rooms/room_1", "/rooms/room_1"],
    ["https://elsewhere.example/rooms/room_1", undefined],
    [`${origin}/play`, undefined],
    ["no room at all", undefined],
    ["", undefined],
    ["https://", undefined],
  ])("%j leads to %j", (text, place) => expect(placeOf(text, origin)).toBe(place));
});

describe("an invitation", () => {
  const secret = `inv_${"0f".repeat(32)}`;

  it("is taken out of the address, and kept for its room", () => {
    history.replaceState(null, "", `/rooms/room_1#invite=${secret}`);
    takeInvitation("room_1");
    expect(location.href.endsWith("/rooms/room_1")).toBe(true);
    expect(invitationOf("room_1")).toBe(secret);
    expect(invitationOf("room_2")).toBeUndefined();
  });

  it("that is none is taken out all the same", () => {
    history.replaceState(null, "", "/rooms/room_2#invite=nonsense");
    takeInvitation("room_2");
    expect(location.hash).toBe("");
    expect(invitationOf("room_2")).toBeUndefined();
  });
});

describe("rooms that a browser knows", () => {
  it("are the last ones, each once", () => {
    for (let at = 0; at < 40; at += 1) noteRoom({ id: `room_${at}`, title: "", at });
    noteRoom({ id: "room_30", title: "again", at: 50 });
    const known = knownRooms();
    expect(known).toHaveLength(30);
    expect(known[0]).toEqual({ id: "room_30", title: "again", at: 50 });
    expect(new Set(known.map((it) => it.id)).size).toBe(30);
    forgetRoom("room_30");
    expect(knownRooms()).toHaveLength(29);
  });

  it("are none where something else is kept", () => {
    localStorage.setItem("flotilla.rooms", '[{"id":"../x","title":"","at":0},7,null]');
    expect(knownRooms()).toEqual([]);
  });
});

describe("what was written without a connection", () => {
  it("is there again, and counts once", () => {
    const [gateway, page] = [new Y.Doc(), new Y.Doc()];
    shared.begin(gateway, alpha);
    meet(gateway, page);
    const known = Y.encodeStateVector(page);
    shared.filesOf(page)[0]?.text.insert(0, "kept ");
    expect(unsent.keep("room_1", page, known)).toBe(true);
    // Another page of the same browser keeps its own beside it.
    const other = new Y.Doc();
    meet(gateway, other);
    shared.filesOf(other)[0]?.text.insert(0, "also ");
    expect(unsent.keep("room_1", other, known)).toBe(true);
    const again = new Y.Doc();
    const names = unsent.restore("room_1", again);
    meet(gateway, again);
    const [[, all = ""] = []] = told(gateway);
    expect([all.includes("kept "), all.includes("also "), all.endsWith("first();\n")]).toEqual([true, true, true]);
    // It had arrived after all.
    meet(gateway, page);
    expect(told(gateway)).toEqual([["main.a", all]]);
    unsent.forget(names);
    const empty = new Y.Doc();
    unsent.restore("room_1", empty);
    expect(told(empty)).toEqual([]);
  });

  it("is nothing if it is none", () => {
    localStorage.setItem("flotilla.room.room_1.unsent.7", "AAAA!");
    const doc = new Y.Doc();
    unsent.restore("room_1", doc);
    expect(told(doc)).toEqual([]);
    unsent.forgetAll("room_1");
    expect(localStorage.getItem("flotilla.room.room_1.unsent.7")).toBeNull();
  });
});
