// What a program can do to its executor, by the first argument.
const fs = require('fs');
const { spawnSync } = require('child_process');

const [verb, ...rest] = process.argv.slice(2);
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const sh = (script) => spawnSync('sh', ['-c', script], { stdio: 'inherit' });
const write = (bytes) => {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(1, bytes, at);
};

switch (verb) {
  case 'count':
    console.log(fs.readFileSync(0).length);
    break;
  case 'echo':
    write(fs.readFileSync('/dev/stdin'));
    break;
  case 'nothing':
    console.log('ok');
    break;
  case 'exit':
    process.exit(Number(rest[0]));
  case 'signal':
    process.kill(process.pid, Number(rest[0]));
    sleep(60_000);
    break;
  case 'spin':
    for (;;);
  case 'sleep':
    write(Buffer.from('asleep\n'));
    sleep(Number(rest[0]) * 1000);
    console.log('awake');
    break;
  case 'hog': {
    const held = [];
    for (let i = 0; i < 2048; i++) held.push(Buffer.alloc(1 << 20, 'x'));
    console.log('survived', held.length);
    break;
  }
  case 'giant':
    console.log('survived', Buffer.alloc(3 * 2 ** 30, 'x').length);
    break;
  case 'print': {
    const line = Buffer.from('x'.repeat(1023) + '\n');
    for (let i = 0; i < Number(rest[0]) / 1024; i++) write(line);
    break;
  }
  case 'bytes':
    write(Buffer.from('fffe004100c328f09f98800a', 'hex'));
    break;
  case 'env':
    for (const name of rest) console.log(process.env[name] ?? '(unset)');
    break;
  case 'args':
    for (const argument of rest) console.log(`[${argument}]`);
    break;
  case 'write':
    fs.mkdirSync('out');
    fs.writeFileSync('out/a.txt', 'größe\n');
    fs.writeFileSync('out/b.bin', Buffer.from([0xff, 0, 1]));
    fs.symlinkSync('/etc/passwd', 'out/link.txt');
    try {
      fs.linkSync('/etc/passwd', 'out/hard.txt');
    } catch {}
    sh('mkfifo out/fifo.txt');
    console.log('written');
    break;
  case 'hold':
    sh('setsid sleep 300 & (sleep 300 &)');
    console.log('done');
    break;
  case 'flush':
    console.log('first');
    setTimeout(() => {
      console.log('second');
      console.error('problem');
    }, 2000);
    break;
}
