const assert = require("assert");
const crypto = require("crypto");
const { promisify } = require("util");

(async () => {
  assert.strictEqual(crypto.createHash("sha256").update("").digest("hex").slice(0, 8), "e3b0c442");
  assert.notDeepStrictEqual(crypto.randomBytes(16), crypto.randomBytes(16));
  assert.strictEqual((await promisify(crypto.scrypt)("a", "b", 32)).length, 32);
  const { publicKey, privateKey } = crypto.generateKeyPairSync("ed25519");
  assert.ok(crypto.verify(null, Buffer.from("x"), publicKey, crypto.sign(null, Buffer.from("x"), privateKey)));
  const key = await crypto.webcrypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt", "decrypt"]);
  const iv = crypto.webcrypto.getRandomValues(new Uint8Array(12));
  const sealed = await crypto.webcrypto.subtle.encrypt({ name: "AES-GCM", iv }, key, Buffer.from("text"));
  const opened = await crypto.webcrypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed);
  assert.strictEqual(Buffer.from(opened).toString(), "text");
  assert.strictEqual(crypto.randomUUID().length, 36);
  console.log("works");
})();
