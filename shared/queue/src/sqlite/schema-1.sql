-- The row that changes often is thin: what was submitted, and its result, are apart.
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  caller TEXT NOT NULL,
  language TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  priority INTEGER NOT NULL,
  turn REAL NOT NULL,                -- whose turn it is among jobs of a priority: the least first
  cost REAL NOT NULL,                -- seconds that its caller was charged for it
  attempt INTEGER NOT NULL DEFAULT 0,
  attempts_max INTEGER NOT NULL,
  attempt_ms_max INTEGER NOT NULL,
  deaths INTEGER NOT NULL DEFAULT 0, -- workers that died with it, in a row
  at_most_once INTEGER NOT NULL,
  leases INTEGER NOT NULL DEFAULT 0, -- how many there were
  token BLOB,
  lease_until INTEGER,
  attempt_until INTEGER,             -- no lease goes beyond
  is_accepted INTEGER NOT NULL DEFAULT 0,
  worker TEXT,
  poll TEXT,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 1,
  ttl_ms INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  run_at INTEGER,                    -- while it is scheduled
  start_by INTEGER,                  -- until it was started
  ready_at INTEGER,
  started_at INTEGER,
  finished_at INTEGER,
  expires_at INTEGER,                -- once it is final
  callback_url TEXT
);
CREATE INDEX jobs_ready ON jobs (language, priority DESC, turn, number) WHERE state = 'ready';
CREATE INDEX jobs_ready_since ON jobs (language, ready_at) WHERE state = 'ready';
CREATE INDEX jobs_scheduled ON jobs (run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'leased';
CREATE INDEX jobs_start_by ON jobs (start_by)
  WHERE start_by IS NOT NULL AND state IN ('ready', 'scheduled');
CREATE INDEX jobs_expires ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_of_caller ON jobs (caller, number);

CREATE TABLE bodies (number INTEGER PRIMARY KEY, body BLOB NOT NULL);

CREATE TABLE results (
  number INTEGER PRIMARY KEY,
  token BLOB NOT NULL,
  digest BLOB NOT NULL,
  body BLOB NOT NULL
);

CREATE TABLE attempts (
  number INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  worker TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  reason TEXT,
  PRIMARY KEY (number, lease)
) WITHOUT ROWID;

CREATE TABLE keys (
  caller TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BLOB NOT NULL,
  id BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX keys_expire ON keys (expires_at);

-- Whose turn it is: start-time fair queueing, stamped when a job becomes ready.
CREATE TABLE shares (
  caller TEXT NOT NULL,
  language TEXT NOT NULL,
  last_turn REAL NOT NULL,
  expected_s REAL NOT NULL,
  PRIMARY KEY (caller, language)
) WITHOUT ROWID;

CREATE TABLE languages (
  language TEXT PRIMARY KEY,
  turn REAL NOT NULL,                -- of the last job that was claimed
  average_ms REAL
) WITHOUT ROWID;

CREATE TABLE callbacks (
  number INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  caller TEXT NOT NULL,
  url TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  due_at INTEGER,                    -- none once it is over
  reason TEXT,                       -- why it was not taken; none once it was
  expires_at INTEGER NOT NULL
);
CREATE INDEX callbacks_due ON callbacks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_of_caller ON callbacks (caller, number);
CREATE INDEX callbacks_expire ON callbacks (expires_at);

-- Counting jobs must not take longer the more there are, nor the more callers.
CREATE TABLE counts (
  caller TEXT NOT NULL,
  state TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (caller, state)
) WITHOUT ROWID;
CREATE TABLE totals (
  language TEXT NOT NULL,
  state TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (language, state)
) WITHOUT ROWID;
CREATE TRIGGER job_counted AFTER INSERT ON jobs BEGIN
  INSERT INTO counts VALUES (new.caller, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
  INSERT INTO totals VALUES (new.language, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_counted_anew AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
  UPDATE counts SET jobs = jobs - 1 WHERE caller = old.caller AND state = old.state;
  UPDATE totals SET jobs = jobs - 1 WHERE language = old.language AND state = old.state;
  INSERT INTO counts VALUES (new.caller, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
  INSERT INTO totals VALUES (new.language, new.state, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_counted_out AFTER DELETE ON jobs BEGIN
  UPDATE counts SET jobs = jobs - 1 WHERE caller = old.caller AND state = old.state;
  UPDATE totals SET jobs = jobs - 1 WHERE language = old.language AND state = old.state;
END;
