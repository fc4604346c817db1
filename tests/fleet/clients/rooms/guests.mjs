// Scenarios of those who are invited to a room and run programs there.
import { Fleet, Follower, equal, until } from "./fleet.mjs";

const ECHO = [
  "import sys",
  "print('ready', flush=True)",
  "for line in sys.stdin:",
  "    print('heard', line.strip(), flush=True)",
].join("\n");
const echo = { language: "python", code: ECHO, interactive: true };

/** Whoever has an invitation to a room, and no key. */
async function invited(fleet, room, role) {
  const made = await fleet.call("POST", `/v1/rooms/${room}/invitations`, { role });
  equal([made.status, made.body.role], [201, role], "somebody is invited");
  const guest = new Fleet(fleet.url, { "room-invitation": made.body.invitation });
  guest.id = made.body.id;
  return guest;
}

/** Enters a room as far as an invitation goes. */
async function enter(guest, room, role) {
  const ticket = await guest.ticket(room, role, role);
  const client = guest.client(room, { ticket });
  return client.synced();
}

async function begun(guest, room, name, body = echo) {
  const { status, body: run } = await guest.call("POST", `/v1/rooms/${room}/runs?name=${name}`, body);
  equal(status, 201, `a run is begun: ${JSON.stringify(run)}`);
  return run;
}

async function refused(answer, status, code, what) {
  const { status: found, body } = await answer;
  equal([found, body.code], [status, code], what);
}

export const guests = {
  async invited(fleet) {
    const nobody = new Fleet(fleet.url);
    const room = await fleet.room({ title: "ours" });
    const [eve, ben, rob, vic] = await Promise.all(
      ["editor", "editor", "runner", "viewer"].map((role) => invited(fleet, room, role)),
    );
    equal((await vic.call("GET", `/v1/rooms/${room}`)).body.role, "viewer", "a guest's role");
    const ann = await fleet.client(room).synced();
    const writer = await enter(eve, room, "editor");
    writer.write("together");
    await ann.reads("together");
    const looker = await enter(vic, room, "viewer");
    await looker.reads("together");

    const run = await begun(eve, room, "eve");
    const runs = looker.doc.getArray("runs");
    await until("everybody hears of the run", () => runs.length === 1);
    const told = runs.get(0);
    equal([told.id, told.author], [run.id, "eve"], "what is told of it");
    equal(Math.abs(Date.now() - Date.parse(told.at)) < 60_000, true, `its time: ${told.at}`);

    const path = `/v1/rooms/${room}/runs/${told.id}`;
    const seen = (await vic.call("GET", path)).body;
    equal([seen.ticket, typeof seen.viewTicket], [undefined, "string"], "a viewer's tickets");
    const viewer = new Follower(vic, seen, seen.viewTicket, "vic");
    await viewer.printed("ready");
    viewer.say({ t: "stdin", data: "forged\n" });
    equal((await viewer.told("error")).code, "read_only", "a viewer types");
    const typed = (await ben.call("GET", path)).body;
    const typist = new Follower(ben, typed, typed.ticket, "ben");
    await typist.printed("ready");
    typist.say({ t: "stdin", data: "hello\n" });
    await viewer.printed("heard hello");
    const said = viewer.events.filter((it) => it.t === "stdin");
    equal(said.map((it) => [it.data, it.by]), [["hello\n", "ben"]], "who typed");

    // Whoever comes later has all of it, and may type as well.
    const late = (await rob.call("GET", path)).body;
    const joiner = new Follower(rob, late, late.ticket, "rob");
    await joiner.printed("heard hello");
    joiner.say({ t: "eof" });
    const exit = await joiner.told("exit");
    equal(exit.report.status, "success", "how it ended");
    equal(await viewer.closed, 1000, "it is over for everybody");
    const replayed = (await rob.call("GET", path)).body;
    const again = new Follower(rob, replayed, replayed.ticket, "rob");
    equal(await again.closed, 1000, "what is over is told, too");
    equal(again.events, viewer.events.filter((it) => it.seq), "the same is told to everybody");
    equal((await nobody.call("GET", path)).status, 401, "nobody is told anything");
    for (const guest of [eve, ben, rob, vic]) guest.end();
  },

  async strangers(fleet) {
    const nobody = new Fleet(fleet.url);
    const other = new Fleet(fleet.url, { authorization: "Bearer ben-0123456789abcdef" });
    const [room, elsewhere] = [await fleet.room(), await fleet.room()];
    const [editor, runner, viewer] = await Promise.all(
      ["editor", "runner", "viewer"].map((role) => invited(fleet, room, role)),
    );
    const run = await begun(runner, room, "rob", { language: "python", code: "print(1)" });
    await refused(viewer.call("POST", `/v1/rooms/${room}/runs`, echo), 403, "role_too_low", "a viewer runs");
    const ticket = (guest, role) => guest.call("POST", `/v1/rooms/${room}/tickets`, { role });
    for (const [guest, role] of [[viewer, "runner"], [runner, "editor"], [editor, "owner"]]) {
      await refused(ticket(guest, role), 403, "role_too_low", `${role} is more than it is`);
    }
    // An invitation is good for its room, for what it is there for, and whoever else asks.
    const wrong = [401, "invitation_wrong"];
    const guess = new Fleet(fleet.url, { "room-invitation": `inv_${"0".repeat(64)}` });
    for (const [guest, at] of [[editor, elsewhere], [guess, room], [guess, "nowhere"], [editor, "nowhere"]]) {
      await refused(guest.call("GET", `/v1/rooms/${at}`), ...wrong, "a wrong invitation");
      await refused(guest.call("POST", `/v1/rooms/${at}/runs`, echo), ...wrong, "to run by");
      await refused(guest.call("POST", `/v1/rooms/${at}/tickets`, { role: "viewer" }), ...wrong, "to enter by");
      await refused(guest.call("GET", `/v1/rooms/${at}/runs/${run.id}`), ...wrong, "to look by");
    }
    await refused(nobody.call("GET", `/v1/rooms/${room}`), 401, "unauthorized", "no invitation");
    for (const [method, path, body] of [
      ["POST", "/v1/runs", echo],
      ["POST", "/v1/rooms", {}],
      ["DELETE", `/v1/rooms/${room}`],
      ["GET", `/v1/rooms/${room}/invitations`],
      ["POST", `/v1/rooms/${room}/invitations`, { role: "owner" }],
      ["DELETE", `/v1/rooms/${room}/invitations/${editor.id}`],
    ]) {
      await refused(editor.call(method, path, body), 401, "unauthorized", `a guest: ${method} ${path}`);
    }
    await refused(other.call("GET", `/v1/rooms/${room}`), 404, "no_room", "another key");
    await refused(other.call("POST", `/v1/rooms/${room}/runs`, echo), 404, "no_room", "another key runs");
    await refused(other.call("GET", `/v1/rooms/${room}/invitations`), 404, "no_room", "another key looks");
    const own = `/v1/rooms/${elsewhere}/runs/${run.id}`;
    await refused(fleet.call("GET", own), 404, "no_run", "a run of another room");
    const key = { ...fleet.headers, "idempotency-key": "k" };
    const same = new Fleet(fleet.url, key);
    const alone = (await same.call("POST", "/v1/runs", echo)).body;
    const guest = new Fleet(fleet.url, { ...runner.headers, "idempotency-key": "k" });
    const there = await begun(guest, room, "rob");
    equal(alone.id === there.id, false, "a guest has not the owner's own run");
    const pair = [`/v1/rooms/${room}/runs/${alone.id}`, 404, "no_run"];
    await refused(runner.call("GET", pair[0]), pair[1], pair[2], "which is no run of the room");
    equal((await begun(guest, room, "rob")).id, there.id, "the room's run has its key");
    for (const it of [alone, there]) {
      await nobody.call("DELETE", `${it.links.self}?ticket=${it.ticket}`);
    }
    editor.end();
  },

  async ended(fleet) {
    const room = await fleet.room();
    const [guest, owner] = [await invited(fleet, room, "runner"), await invited(fleet, room, "owner")];
    const path = `/v1/rooms/${room}/invitations`;
    const listed = (await fleet.call("GET", path)).body.invitations;
    equal(listed.map((it) => [it.id, it.role]), [[guest.id, "runner"], [owner.id, "owner"]], "all of them");
    equal(JSON.stringify(listed).includes("inv_"), false, "without their secrets");
    const [out, stays] = [await enter(guest, room, "runner"), await enter(owner, room, "owner")];
    const unused = await guest.ticket(room, "viewer");
    equal((await fleet.call("DELETE", `${path}/${guest.id}`)).status, 204, "one is ended");
    equal(await out.closed, 4401, "whoever came by it is shown out");
    equal(await fleet.client(room, { ticket: unused }).closed, 4401, "its tickets are none any more");
    equal(stays.codes, [], "whoever came by another stays");
    await refused(fleet.call("DELETE", `${path}/${guest.id}`), 404, "no_invitation", "and is gone");
    await refused(guest.call("GET", `/v1/rooms/${room}`), 401, "invitation_wrong", "and lets nobody in");
    const entered = await enter(owner, room, "owner");
    entered.write("still here");
    for (let count = 1; count < 32; count++) await invited(fleet, room, "viewer");
    await refused(fleet.call("POST", path, { role: "viewer" }), 429, "too_many_invitations", "the 33rd");
    for (const body of [{ role: "king" }, { role: "viewer", hours: 721 }, { role: "viewer", hours: 0 }, {}]) {
      equal((await fleet.call("POST", path, body)).status, 422, JSON.stringify(body));
    }
    // A room that is deleted takes what runs in it along.
    const run = await begun(owner, room, "eve");
    const follower = new Follower(owner, run, run.ticket, "eve");
    await follower.printed("ready");
    equal((await fleet.call("DELETE", `/v1/rooms/${room}`)).status, 204, "the room is deleted");
    equal((await follower.told("exit")).report?.status, "cancelled", "its run is stopped");
    equal(await entered.closed, 4410, "and everybody is shown out");
    await refused(owner.call("GET", `/v1/rooms/${room}`), 401, "invitation_wrong", "nobody is invited");
    owner.end();
  },
};
