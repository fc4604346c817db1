// Clients of rooms as others write them: Yjs and y-websocket, unchanged, and bare WebSockets for what
// those would never send.
import { once } from "node:events";
import readline from "node:readline";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

export { WebSocket, Y };

const PATIENCE = 30_000;
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Has whoever started this do something to the gateway. */
export async function ask(what) {
  console.log(JSON.stringify({ ask: what }));
  return JSON.parse((await lines.next()).value);
}

/** Waits until something is so, and returns what that is. */
export async function until(what, isSo) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await pause(10);
  }
}

export function equal(found, expected, what) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`${what}: ${one.slice(0, 300)} is not ${other.slice(0, 300)}`);
}

export class Fleet {
  constructor(url, headers = {}) {
    this.url = url;
    this.headers = headers;
    this.clients = [];
  }

  async call(method, path, body) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { "content-type": "application/json", ...this.headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    return { status: answer.status, body: text && JSON.parse(text) };
  }

  async room(body = {}) {
    const { status, body: room } = await this.call("POST", "/v1/rooms", body);
    equal(status, 201, "a room is made");
    return room.id;
  }

  async ticket(room, role, name) {
    const { status, body } = await this.call("POST", `/v1/rooms/${room}/tickets`, { role, name });
    equal(status, 201, "a ticket is made");
    return body.ticket;
  }

  /** Waits until nothing of a room is in memory alone. */
  async saved(room) {
    await until("the room is saved", async () => {
      const { body } = await this.call("GET", `/v1/rooms/${room}`);
      return body.unsavedBytes === 0 && body.bytes > 0;
    });
  }

  client(room, options = {}) {
    const client = new Client(this, room, options);
    this.clients.push(client);
    return client;
  }

  /** A bare connection, and what came of it. */
  bare(room, { query = "", headers = {}, at = this.url } = {}) {
    const url = `${at.replace("http", "ws")}/collab/${room}${query}`;
    const socket = new WebSocket(url, { headers: { ...this.headers, ...headers } });
    const place = { socket, frames: [], isClosed: false };
    socket.on("message", (frame) => place.frames.push(new Uint8Array(frame)));
    socket.on("error", () => {});
    place.closed = once(socket, "close").then(([code]) => {
      place.isClosed = true;
      return code;
    });
    place.opened = new Promise((done) => socket.on("open", done));
    return place;
  }

  end() {
    for (const client of this.clients) client.end();
  }
}

/** Somebody who follows a run from its beginning. */
export class Follower {
  constructor(fleet, run, ticket, name) {
    const url = fleet.url.replace("http", "ws") + run.links.ws;
    const query = new URLSearchParams({ since: 0, ticket, name });
    this.events = [];
    this.socket = new WebSocket(`${url}?${query}`, "run.v1.json");
    this.socket.on("message", (text) => this.events.push(JSON.parse(text)));
    this.closed = once(this.socket, "close").then(([code]) => code);
  }

  say(what) {
    this.socket.send(JSON.stringify(what));
  }

  told(kind) {
    return until(`it is told ${kind}`, () => this.events.find((it) => it.t === kind));
  }

  printed(text) {
    const output = () => this.events.filter((it) => it.t === "stdout").map((it) => it.data).join("");
    return until(`it is told that ${text} was printed`, () => output().includes(text));
  }
}

/** Somebody who edits. */
export class Client {
  constructor(fleet, room, { name, ticket, at = fleet.url, clientId } = {}) {
    this.doc = new Y.Doc();
    if (clientId) this.doc.clientID = clientId;
    this.text = this.doc.getText("t");
    const headers = fleet.headers;
    class Socket extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { headers });
      }
    }
    this.provider = new WebsocketProvider(`${at.replace("http", "ws")}/collab`, room, this.doc, {
      WebSocketPolyfill: Socket,
      disableBc: true,
      maxBackoffTime: 300,
      params: ticket ? { ticket } : {},
    });
    this.codes = [];
    this.provider.on("connection-close", (event) => this.codes.push(event?.code ?? 0));
    this.closed = new Promise((done) => this.provider.on("closed", ({ code }) => done(code)));
    if (name) this.provider.awareness.setLocalStateField("user", { name });
  }

  async synced() {
    await until("a client is synced", () => this.provider.synced);
    return this;
  }

  write(text, at = this.text.length) {
    this.text.insert(at, text);
  }

  async reads(text) {
    await until(`a client reads ${text.slice(0, 40)}`, () => this.text.toString() === text).catch(
      (error) => {
        throw new Error(`${error.message}; it reads ${this.text.toString().slice(0, 80)}`);
      },
    );
  }

  names() {
    const states = [...this.provider.awareness.getStates().values()];
    return states.map((it) => it.user?.name).filter(Boolean).sort();
  }

  async sees(...names) {
    await until(`a client sees ${names}`, () => this.names().join() === names.join());
  }

  end() {
    this.provider.destroy();
    this.doc.destroy();
  }
}

/** A bare connection that is let in: others that were ended may still count. */
export async function enter(fleet, room) {
  return until("there is place", async () => {
    const place = fleet.bare(room);
    await until("it is told", () => place.isClosed || place.frames.length > 0);
    return !place.isClosed && place;
  });
}
