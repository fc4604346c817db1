-- Keys by number: the oldest go beyond so many. That is the order in which they end, too.
ALTER TABLE keys RENAME TO unnumbered_keys;
CREATE TABLE keys (
  number INTEGER PRIMARY KEY,
  caller TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BLOB NOT NULL,
  id BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  UNIQUE (caller, key)
);
INSERT INTO keys (caller, key, digest, id, expires_at)
  SELECT caller, key, digest, id, expires_at FROM unnumbered_keys ORDER BY expires_at;
DROP TABLE unnumbered_keys;
