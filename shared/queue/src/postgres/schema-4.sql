-- Keys by number: the oldest go beyond so many. That is the order in which they end, too.
ALTER TABLE keys RENAME TO unnumbered_keys;
ALTER TABLE unnumbered_keys RENAME CONSTRAINT keys_pkey TO unnumbered_keys_pkey;
CREATE TABLE keys (
  number BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
  caller TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BYTEA NOT NULL,
  id BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (caller, key)
) WITH (autovacuum_vacuum_scale_factor = 0.01);
INSERT INTO keys (caller, key, digest, id, expires_at)
  SELECT caller, key, digest, id, expires_at FROM unnumbered_keys ORDER BY expires_at;
DROP TABLE unnumbered_keys;
