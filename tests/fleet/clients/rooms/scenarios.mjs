// Scenarios by name: `node scenarios.mjs URL OTHER_URL NAME…`. Each fails by throwing.
import { Fleet, Y, ask, enter, equal, pause, until } from "./fleet.mjs";
import { guests } from "./guests.mjs";
import { limits } from "./limits.mjs";

const [url, other, ...names] = process.argv.slice(2);

/** The same numbers each time. */
function chance(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  };
}

/** Edits at the same time wherever there is a client, at a rate that people could not reach. */
async function scribble(clients, rounds) {
  const numbers = chance(7);
  for (let round = 0; round < rounds; round++) {
    for (const { text, doc } of clients) {
      doc.transact(() => {
        const length = text.length;
        if (length > 10 && numbers(3) === 0) text.delete(numbers(length - 3), 1 + numbers(3));
        else text.insert(numbers(length + 1), ["a", "bc", "é", "👩‍🚀", "\n"][numbers(5)]);
      });
    }
    await pause(20);
  }
}

async function agree(clients) {
  await until("all clients read the same", () => {
    const texts = new Set(clients.map((it) => it.text.toString()));
    return texts.size === 1 && clients.every((it) => it.provider.synced);
  });
  return clients[0].text.toString();
}

/** A number as Yjs writes it. */
function number(left) {
  const bytes = [];
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128);
  return [...bytes, left];
}

/** A frame: a kind, and bytes behind their length. */
function frame(kind, body) {
  return Uint8Array.from([...kind, ...number(body.length), ...body]);
}

/** A change with as many blocks of one client as a room bears. */
function manyBlocks(block) {
  const count = 99_000;
  const blocks = Array.from({ length: count }, (_, clock) => block(clock));
  return frame([0, 2], [1, ...number(count), 9, 0, ...blocks.flat(), 0]);
}

const scenarios = {
  ...guests,
  ...limits,

  async converge(fleet) {
    const room = await fleet.room();
    const clients = [1, 2, 3].map(() => fleet.client(room));
    for (const client of clients) await client.synced();
    await scribble(clients, 60);
    const text = await agree(clients);
    const late = await fleet.client(room).synced();
    await late.reads(text);
    equal(clients.flatMap((it) => it.codes), [], "nobody was shown out");
  },

  async offline(fleet) {
    const room = await fleet.room();
    const [ann, ben] = [await fleet.client(room).synced(), await fleet.client(room).synced()];
    ann.write("both");
    await ben.reads("both");
    ann.provider.disconnect();
    ann.write("ann ", 0);
    ben.write(" ben");
    await pause(50);
    equal([ann.text.toString(), ben.text.toString()], ["ann both", "both ben"], "they are apart");
    ann.provider.connect();
    await ann.reads("ann both ben");
    await ben.reads("ann both ben");
  },

  async presence(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room, { name: "ann" }).synced();
    const ben = await fleet.client(room, { name: "ben" }).synced();
    await ann.sees("ann", "ben");
    await ben.sees("ann", "ben");
    const eve = await fleet.client(room, { name: "eve" }).synced();
    await eve.sees("ann", "ben", "eve");
    eve.end();
    await ann.sees("ann", "ben");
    // A client that crashes says no farewell; it comes back as who it was.
    ben.provider.ws.terminate();
    await ann.sees("ann");
    await ann.sees("ann", "ben");
    ben.provider.shouldConnect = false;
    ben.provider.ws.terminate();
    await ann.sees("ann");
  },

  async echo(fleet) {
    // y-websocket drops a connection on which it hears nothing for 30 s; what it says of itself every
    // 15 s has to come back.
    const room = await fleet.room();
    const ann = await fleet.client(room, { name: "ann" }).synced();
    const heard = ann.provider.wsLastMessageReceived;
    await pause(20);
    ann.provider.awareness.setLocalStateField("cursor", 1);
    await until("it hears of itself", () => ann.provider.wsLastMessageReceived > heard);
    // So it is for one that comes back before its old connection was seen to be lost.
    const { socket, frames, opened } = fleet.bare(room);
    await opened;
    const state = [...Buffer.from('{"user":{"name":"x"}}')];
    const said = frame([1], [1, 9, 1, state.length, ...state]);
    socket.send(said);
    await until("it is told", () => frames.some((it) => Buffer.compare(it, said) === 0));
    const count = frames.length;
    socket.send(said);
    await until("it is told again", () => frames.length > count);
    socket.close();
  },

  async unicode(fleet) {
    const room = await fleet.room();
    const [ann, ben] = [await fleet.client(room).synced(), await fleet.client(room).synced()];
    const text = "👩‍🚀 é e\u0301 𝕏 日本 \u202e🇪🇺";
    ann.write(text);
    await ben.reads(text);
    ben.write("|", 5);
    await ann.reads("👩‍🚀|" + text.slice(5));
    ann.text.delete(0, 2);
    await ben.reads(("👩‍🚀|" + text.slice(5)).slice(2));
    // In the middle of a pair: both sides read the same, whatever that is.
    ben.write("x", ben.text.toString().indexOf("𝕏") + 1);
    await agree([ann, ben]);
    const late = await fleet.client(room).synced();
    await late.reads(ann.text.toString());
  },

  async roles(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room).synced();
    ann.write("mine");
    for (const role of ["viewer", "runner"]) {
      const ticket = await fleet.ticket(room, role, "ben");
      const ben = await fleet.client(room, { ticket, name: role }).synced();
      await ben.reads("mine");
      ben.write("forged");
      await ann.sees(role);
      const later = await fleet.client(room).synced();
      await later.reads("mine");
      equal([ann.text.toString(), ben.codes], ["mine", []], "it is ignored quietly");
      ben.end();
      await ann.sees();
      later.end();
    }
    const ticket = await fleet.ticket(room, "editor");
    const editor = await fleet.client(room, { ticket }).synced();
    editor.write("yours ", 0);
    await ann.reads("yours mine");
  },

  async refusals(fleet) {
    const room = await fleet.room();
    equal(await fleet.client(room, { ticket: "wrong" }).closed, 4401, "a wrong ticket");
    const ticket = await fleet.ticket(room, "editor");
    const ann = await fleet.client(room, { ticket }).synced();
    equal(await fleet.client(room, { ticket }).closed, 4401, "a ticket that was used");
    equal(await fleet.client("nowhere").closed, 4404, "no such room");
    const elsewhere = await fleet.room();
    const foreign = await fleet.ticket(elsewhere, "editor");
    equal(await fleet.client(room, { ticket: foreign }).closed, 4401, "another room's ticket");
    const evil = fleet.bare(room, { headers: { origin: "https://evil.example" } });
    equal(await evil.closed, 4403, "a page of somebody else's");
    const own = fleet.bare(room, { headers: { origin: fleet.url } });
    await own.opened;
    await until("our own page is let in", () => own.frames.length > 0);
    equal((await fleet.call("GET", `/collab/${room}`)).status, 426, "no WebSocket");
    equal((await fleet.call("DELETE", `/v1/rooms/${room}`)).status, 204, "it is deleted");
    equal(await ann.closed, 4410, "the room was deleted");
    equal(await own.closed, 4410, "for everybody");
    equal((await fleet.call("GET", `/v1/rooms/${room}`)).status, 404, "it is gone");
    const wrong = await fleet.call("POST", "/v1/rooms", { visibility: "open", colour: 1 });
    equal(wrong.status, 422, "a wrong field");
  },

  async hostile(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room, { name: "ann" }).synced();
    ann.write("still here");
    const nested = Array.from({ length: 200_000 }, (_, index) => 117 - (index % 2) * 116);
    const corpus = [
      frame([0, 2], [0xff, 0xff, 0xff, 0x7a]),
      frame([0, 2], [1, 0xff, 0xff, 0xff, 0x7a, 9, 0]),
      frame([0, 2], [1, 1, 9, 0, 8, 1, 1, 97, 0xff, 0xff, 0xff, 0x7a]),
      frame([0, 2], [1, 1, 9, 0, 2, 1, 1, 97, 0xff, 0xff, 0xff, 0xff, 15]),
      frame([0, 2], [1, 1, 9, 0, 8, 1, 1, 97, 1, ...nested]),
      frame([0, 0], [0xff, 0xff, 0xff, 0x7a]),
      frame([1], [0xff, 0xff, 0xff, 0x7a]),
      frame([1], [1, 7, 1, 1, 123]),
      frame([7], []),
      Uint8Array.of(0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      Uint8Array.of(),
    ];
    for (const bytes of corpus) {
      const place = await enter(fleet, room);
      place.socket.send(bytes);
      equal(await place.closed, 4400, `what is no message: ${bytes.slice(0, 12)}`);
    }
    const text = await enter(fleet, room);
    text.socket.send("text");
    equal(await text.closed, 4400, "nor is a text");
    // Changes that are nearly right go to a room of their own: they may do to it what they want, save
    // end it.
    const other = await fleet.room();
    const sample = Y.encodeStateAsUpdate(ann.doc);
    const numbers = chance(11);
    for (let index = 0; index < 200; index++) {
      const changed = Uint8Array.from(sample);
      for (let count = 0; count <= numbers(3); count++) {
        changed[numbers(changed.length)] = numbers(256);
      }
      const place = await enter(fleet, other);
      place.socket.send(frame([0, 2], changed));
      place.socket.send(frame([0, 0], [0]));
      const isAnswer = (it) => it[0] === 0 && it[1] === 1;
      await until("it is answered or shown out", () => place.isClosed || place.frames.some(isAnswer));
      place.socket.terminate();
    }
    const late = await fleet.client(room).synced();
    await late.reads("still here");
    late.write("!");
    await ann.reads("still here!");
    equal(ann.codes, [], "whoever sends no such thing is not shown out");
  },

  async greedy(fleet) {
    const [room, other] = [await fleet.room(), await fleet.room()];
    const ann = await fleet.client(room, { name: "ann" }).synced();
    ann.write("still here");
    const [ben, cid] = [await fleet.client(other).synced(), await fleet.client(other).synced()];
    // All of them are changes as clients write them, and the library bears none of them: it copies each
    // value as often as there are others before it, and looks at each entry for each that comes after.
    const attacks = {
      memory: manyBlocks((clock) =>
        clock === 0 ? [0x08, 1, 1, 108, 1, 126] : [0x88, 9, ...number(clock - 1), 1, 126],
      ),
      time: manyBlocks(() => [0x28, 1, 1, 109, 1, 107, 1, 126]),
    };
    for (const [name, bytes] of Object.entries(attacks)) {
      const place = await enter(fleet, room);
      place.socket.send(bytes);
      ben.write(`${name} `);
      await until("others go on meanwhile", () => cid.text.toString().endsWith(`${name} `));
      if (name === "time") equal(place.isClosed, false, "it is not done yet");
      equal(await place.closed, 4400, `who takes all ${name} is shown out`);
      ann.write(`, also after ${name}`);
      const late = await fleet.client(room).synced();
      await late.reads(ann.text.toString());
    }
    await ask("kill documents");
    ann.write(", and after that");
    ben.write("end");
    await (await fleet.client(room).synced()).reads(ann.text.toString());
    await cid.reads("memory time end");
    // Those that are killed in the middle of a change: the next ones take it.
    await ask("stop documents");
    ann.write(", and through that");
    await pause(300);
    await ask("kill documents");
    await (await fleet.client(room).synced()).reads(ann.text.toString());
    for (const { codes } of [ann, ben, cid]) equal(codes, [], "nobody else is shown out");
  },

  async restart(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room, { name: "ann" }).synced();
    const ben = await fleet.client(room, { name: "ben" }).synced();
    ann.write("before");
    await ben.reads("before");
    await ask("restart");
    for (const { codes } of [ann, ben]) equal(codes[0], 4503, "it is said that the server ends");
    ben.write(", between");
    await ann.reads("before, between");
    await ann.sees("ann", "ben");
    ann.end();
    ben.end();
    await fleet.saved(room);
    await ask("restart");
    await (await fleet.client(room).synced()).reads("before, between");
  },

  async killed(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room).synced();
    for (let number = 0; number < 50; number++) ann.write(`${number} `);
    const text = ann.text.toString();
    await fleet.saved(room);
    ann.provider.disconnect();
    await ask("kill");
    await (await fleet.client(room).synced()).reads(text);
    // What was not written yet comes from whoever has it.
    ann.provider.connect();
    ann.write("and more");
    await ask("kill");
    await (await fleet.client(room).synced()).reads(`${text}and more`);
  },

  async keyed(fleet) {
    const ben = new Fleet(url, { authorization: "Bearer ben-0123456789abcdef" });
    const nobody = new Fleet(url);
    const room = await fleet.room({ title: "ours" });
    const ann = await fleet.client(room).synced();
    ann.write("secret");
    equal(await nobody.client(room).closed, 4401, "without a key");
    equal(await ben.client(room).closed, 4404, "with another's key");
    equal((await ben.call("GET", `/v1/rooms/${room}`)).status, 404, "it is not shown");
    equal((await nobody.call("POST", "/v1/rooms", {})).status, 401, "nobody makes rooms");
    const ticket = await fleet.ticket(room, "viewer", "ben");
    await (await nobody.client(room, { ticket }).synced()).reads("secret");
    const open = await fleet.room({ visibility: "public" });
    const owner = await fleet.client(open).synced();
    owner.write("look");
    const viewer = await ben.client(open).synced();
    await viewer.reads("look");
    viewer.write("forged");
    equal((await ben.call("GET", `/v1/rooms/${open}`)).body.role, "viewer", "its role");
    equal((await ben.call("DELETE", `/v1/rooms/${open}`)).status, 404, "it is not its own");
    const more = await ben.call("POST", `/v1/rooms/${open}/tickets`, { role: "runner" });
    equal([more.status, more.body.code], [403, "role_too_low"], "it makes nobody more than it is");
    await (await nobody.client(open, { ticket: await ben.ticket(open, "viewer") }).synced()).reads("look");
    owner.write("!");
    const late = await fleet.client(open).synced();
    await late.reads("look!");
    ben.end();
    nobody.end();
  },

  async outage(fleet) {
    const room = await fleet.room();
    const here = await fleet.client(room, { name: "here" }).synced();
    const there = await fleet.client(room, { name: "there", at: other }).synced();
    const eve = await fleet.client(room, { name: "eve", at: other }).synced();
    await here.sees("eve", "here", "there");
    const typing = scribble([here, there], 150);
    await pause(500);
    await ask("kill redis");
    // Nobody hears of her leaving.
    eve.end();
    await pause(1000);
    await ask("start redis");
    await typing;
    await agree([here, there]);
    await here.sees("here", "there");
    await there.sees("here", "there");
    // What was written in between is known soon, also if nobody writes anything later.
    await ask("kill redis");
    here.write("from here ", 0);
    await fleet.saved(room);
    equal(there.text.toString().includes("from here"), false, "they are apart");
    // A gateway that writes behind another finds in the database what that wrote.
    there.write(" from there");
    there.provider.awareness.setLocalStateField("user", { name: "moved" });
    await ask("start redis");
    const text = await agree([here, there]);
    equal(/^from here .* from there$/s.test(text), true, "nothing is lost");
    await here.sees("here", "moved");
    await (await fleet.client(room, { at: other }).synced()).reads(text);
  },

  async shared(fleet) {
    const room = await fleet.room();
    const here = await fleet.client(room, { name: "here" }).synced();
    const there = await fleet.client(room, { name: "there", at: other }).synced();
    await here.sees("here", "there");
    await there.sees("here", "there");
    await scribble([here, there], 40);
    await agree([here, there]);
    there.provider.awareness.setLocalStateField("user", { name: "moved" });
    await here.sees("here", "moved");
    there.provider.disconnect();
    await here.sees("here");
    there.provider.connect();
    await here.sees("here", "moved");
    const text = await agree([here, there]);
    // One server is gone without a word: its people are missed, and their text is not.
    await ask("kill other");
    await here.sees("here");
    here.write("!");
    const late = await fleet.client(room).synced();
    await late.reads(`${text}!`);
    equal((await fleet.call("DELETE", `/v1/rooms/${room}`)).status, 204, "it is deleted");
    equal(await here.closed, 4410, "the room was deleted");
  },
};

const keyed = ["keyed", ...Object.keys(guests)];
for (const name of names) {
  const headers = keyed.includes(name) ? { authorization: "Bearer ann-0123456789abcdef" } : {};
  const fleet = new Fleet(url, headers);
  const began = Date.now();
  try {
    await scenarios[name](fleet);
  } catch (error) {
    console.log(JSON.stringify({ failed: name, why: error.stack }));
    process.exit(1);
  }
  fleet.end();
  console.log(JSON.stringify({ done: name, milliseconds: Date.now() - began }));
}
process.exit(0);
