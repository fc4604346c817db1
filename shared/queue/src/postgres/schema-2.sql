-- What gateways tell each other of the workers that each of them hears.
CREATE TABLE workers (
  worker TEXT PRIMARY KEY,
  body BYTEA NOT NULL,
  noted_at BIGINT NOT NULL,
  told TEXT                          -- what it is to be told
) WITH (fillfactor = 50);
