// What a program can do to its executor, by the first argument.
import { spawnSync } from 'child_process';
import * as fs from 'fs';

type Verb = (rest: string[]) => void;

const sleep = (ms: number): string => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const sh = (script: string): unknown => spawnSync('sh', ['-c', script], { stdio: 'inherit' });
function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(1, bytes, at);
}

const verbs: Record<string, Verb> = {
  count: () => console.log(fs.readFileSync(0).length),
  echo: () => write(fs.readFileSync('/dev/stdin')),
  nothing: () => console.log('ok'),
  exit: ([code]) => process.exit(Number(code)),
  signal: ([number]) => {
    process.kill(process.pid, Number(number));
    sleep(60_000);
  },
  spin: () => {
    for (;;);
  },
  sleep: ([seconds]) => {
    write(Buffer.from('asleep\n'));
    sleep(Number(seconds) * 1000);
    console.log('awake');
  },
  hog: () => {
    const held: Buffer[] = [];
    for (let i = 0; i < 2048; i++) held.push(Buffer.alloc(1 << 20, 'x'));
    console.log('survived', held.length);
  },
  giant: () => console.log('survived', Buffer.alloc(3 * 2 ** 30, 'x').length),
  print: ([bytes]) => {
    const line = Buffer.from('x'.repeat(1023) + '\n');
    for (let i = 0; i < Number(bytes) / 1024; i++) write(line);
  },
  bytes: () => write(Buffer.from('fffe004100c328f09f98800a', 'hex')),
  env: (names) => names.forEach((name) => console.log(process.env[name] ?? '(unset)')),
  args: (rest) => rest.forEach((argument: string) => console.log(`[${argument}]`)),
  write: () => {
    fs.mkdirSync('out');
    fs.writeFileSync('out/a.txt', 'größe\n');
    fs.writeFileSync('out/b.bin', Buffer.from([0xff, 0, 1]));
    fs.symlinkSync('/etc/passwd', 'out/link.txt');
    try {
      fs.linkSync('/etc/passwd', 'out/hard.txt');
    } catch {}
    sh('mkfifo out/fifo.txt');
    console.log('written');
  },
  hold: () => {
    sh('setsid sleep 300 & (sleep 300 &)');
    console.log('done');
  },
  flush: () => {
    console.log('first');
    setTimeout(() => {
      console.log('second');
      console.error('problem');
    }, 2000);
  },
};

const [verb, ...rest] = process.argv.slice(2) as [string, ...string[]];
verbs[verb]!(rest);
