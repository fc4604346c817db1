// Scenarios of what a room bears, and what its clients and its store bear.
import { ask, enter, equal, pause, until } from "./fleet.mjs";

export const limits = {
  async bounds(fleet) {
    const room = await fleet.room();
    const ann = await fleet.client(room).synced();
    const ben = await fleet.client(room).synced();
    ann.write("x".repeat(1_500_000));
    equal(await ann.closed, 4413, "a frame that is too large");
    const large = "y".repeat(700_000);
    ben.write(large);
    await fleet.saved(room);
    ben.write(large);
    ben.write(large);
    equal(await ben.closed, 4413, "a document that is too large");
    const late = await fleet.client(room).synced();
    equal(late.text.length, 1_400_000, "what fitted is there");
    // One more than a room has place for, and than one address may be in.
    const full = await fleet.room();
    const all = [];
    for (let number = 0; number < 32; number++) all.push(await enter(fleet, full));
    equal(await fleet.bare(full).closed, 4531, "the room is full");
    all.forEach(({ socket }) => socket.terminate());
    late.end();
    const rooms = await Promise.all(Array.from({ length: 9 }, () => fleet.room()));
    const places = [];
    for (const it of rooms.slice(0, 8)) places.push(await enter(fleet, it));
    equal(await fleet.bare(rooms[8]).closed, 4529, "too many rooms");
    places.forEach(({ socket }) => socket.terminate());
    const loud = await enter(fleet, full);
    for (let number = 0; number < 500; number++) loud.socket.send(Uint8Array.of(3));
    equal(await loud.closed, 4529, "too many messages");
  },

  async slow(fleet) {
    const room = await fleet.room();
    const [ann, ben] = [await fleet.client(room).synced(), await fleet.client(room).synced()];
    ben.provider.ws._socket.pause();
    const letters = "abcdefghijklmnopqrst";
    for (const letter of letters) {
      ann.doc.transact(() => {
        ann.text.delete(0, ann.text.length);
        ann.write(letter.repeat(900_000));
      });
      await pause(40);
    }
    const last = letters.at(-1).repeat(900_000);
    const other = await fleet.client(room).synced();
    await other.reads(last);
    ben.provider.ws._socket.resume();
    await until("it is told to begin anew", () => ben.codes.includes(4500));
    await ben.reads(last);
    equal(ann.codes, [], "nobody else was held up");
  },

  async alone(fleet) {
    // Nobody says anything for longer than y-websocket bears to hear nothing, which it looks for every
    // 3 s: what it says of itself comes back.
    const named = fleet.client(await fleet.room(), { name: "ann" });
    const nameless = fleet.client(await fleet.room());
    for (const client of [named, nameless]) await client.synced();
    await pause(37_000);
    for (const { codes, provider } of [named, nameless]) {
      equal([codes, provider.wsconnected, provider.synced], [[], true, true], "it keeps its connection");
    }
    named.write("still here");
    await named.sees("ann");
  },

  async crowded(fleet) {
    // All rooms together may have 1 MiB here.
    const [large, tiny] = [await fleet.room(), await fleet.room()];
    const filler = await fleet.client(large).synced();
    filler.write("x".repeat(1_040_000));
    await fleet.saved(large);
    const [ann, ben] = [await fleet.client(tiny).synced(), await fleet.client(tiny).synced()];
    const text = "y".repeat(10_000);
    ann.write(text);
    await until("everybody there is told", () => [ann, ben].every(({ codes }) => codes.includes(4507)));
    equal(filler.codes, [], "nobody elsewhere is shown out");
    // Whoever has it brings it again, until there is place.
    equal((await fleet.call("DELETE", `/v1/rooms/${large}`)).status, 204, "the large one is deleted");
    await fleet.saved(tiny);
    await (await fleet.client(tiny).synced()).reads(text);
    await ben.reads(text);
    const codes = [ann, ben].flatMap((it) => it.codes).filter((it) => it !== 4507);
    equal(codes, [], "nobody is told that the room is too large");
  },

  async outOfDisk(fleet) {
    const room = await fleet.room();
    const [ann, ben] = [await fleet.client(room).synced(), await fleet.client(room).synced()];
    ann.write("before. ");
    await ben.reads("before. ");
    await fleet.saved(room);
    await ask("fill the disk");
    const text = "y".repeat(100_000);
    ann.write(text);
    await until("everybody there is told", () => [ann, ben].every(({ codes }) => codes.includes(4507)));
    // What was kept is there, also for a gateway that starts on the full disk.
    const found = async () => {
      const client = await fleet.client(room).synced();
      equal(client.text.toString().slice(0, 8), "before. ", "what was kept");
    };
    await found();
    await ask("kill");
    await found();
    await ask("free the disk");
    await fleet.saved(room);
    const all = `before. ${text}`;
    for (const client of [ben, await fleet.client(room).synced()]) await client.reads(all);
    await ask("kill");
    await (await fleet.client(room).synced()).reads(all);
  },
};
