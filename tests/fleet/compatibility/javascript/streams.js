const assert = require("assert");
const { Readable, Transform, Writable } = require("stream");
const { pipeline } = require("stream/promises");
const fs = require("fs"), zlib = require("zlib");

(async () => {
  const double = new Transform({ transform: (chunk, _, done) => done(null, chunk.toString().repeat(2)) });
  await pipeline(Readable.from(["a", "b"]), double, zlib.createGzip(), fs.createWriteStream("out.gz"));
  const parts = [];
  const collect = new Writable({ write: (chunk, _, done) => (parts.push(chunk), done()) });
  await pipeline(fs.createReadStream("out.gz"), zlib.createGunzip(), collect);
  assert.strictEqual(Buffer.concat(parts).toString(), "aabb");
  let lines = 0;
  for await (const _ of require("readline").createInterface({ input: Readable.from("1\n2\n3") })) lines++;
  assert.strictEqual(lines, 3);
  console.log("works");
})();
