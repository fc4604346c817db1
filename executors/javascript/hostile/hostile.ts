// Tries to get out, harmlessly. Whoever started it looks from outside at what came of it.
import { spawn } from "child_process";
import * as fs from "fs";
import * as net from "net";

const LINGER = 'trap "" HUP TERM; n=0; while [ "$n" -lt 20 ]; do sleep 1; n=$((n + 1)); done';

const [verb, argument] = process.argv.slice(2) as [string, string];
const { SECRET_FILE, SERVER_PID, SERVER_DESCRIPTOR, LISTENER_PORT } = process.env;

const read = (path: string): void => console.log(fs.readFileSync(path, "latin1"));

const attempts: Record<string, () => unknown> = {
  files: () => read(SECRET_FILE!),
  process_secrets: () => {
    for (const name of ["environ", `fd/${SERVER_DESCRIPTOR}`]) {
      try {
        read(`/proc/${SERVER_PID}/${name}`);
      } catch {}
    }
  },
  network: () =>
    new Promise<void>((resolve, reject) => {
      const connection = net.connect(Number(LISTENER_PORT), "127.0.0.1");
      connection.setTimeout(2000, () => connection.destroy(new Error("slow")));
      connection.on("error", reject);
      connection.on("connect", () => connection.end(argument));
      connection.on("close", () => resolve());
      connection.resume();
    }),
  signals: () => process.kill(Number(SERVER_PID), "SIGURG"),
  clean_up: () =>
    new Promise<void>((resolve, reject) => {
      const words = ["-c", LINGER, "sh", argument];
      const child = spawn("sh", words, { detached: true, stdio: "ignore" });
      child.on("error", reject);
      child.on("spawn", () => resolve());
      child.unref();
    }),
};

async function reach(): Promise<void> {
  if (!SECRET_FILE || !SERVER_PID || !SERVER_DESCRIPTOR || !LISTENER_PORT) process.exit(1);
  for (const [name, attempt] of Object.entries(attempts)) {
    try {
      await attempt();
    } catch {}
    console.log("tried", name);
  }
}

function memory(megabytes: number): void {
  console.log("tried memory");
  const blocks: Buffer[] = [];
  while (blocks.length < megabytes) blocks.push(Buffer.alloc(1 << 20, 1));
  setTimeout(() => console.log("kept", blocks.length), 2000);
}

if (verb === "memory") memory(Number(argument));
else reach();
