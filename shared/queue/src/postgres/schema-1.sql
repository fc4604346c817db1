-- The row that changes often is thin: what was submitted, and its result, are apart.
CREATE TABLE jobs (
  number BIGINT PRIMARY KEY,
  id BYTEA NOT NULL UNIQUE,
  caller TEXT NOT NULL,
  language TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  rank SMALLINT NOT NULL,            -- 9 less its priority: the least goes first
  turn DOUBLE PRECISION NOT NULL,    -- whose turn it is among jobs of a rank: the least first
  cost DOUBLE PRECISION NOT NULL,    -- seconds that its caller was charged for it
  attempt INTEGER NOT NULL DEFAULT 0,
  attempts_max INTEGER NOT NULL,
  attempt_ms_max BIGINT NOT NULL,
  deaths INTEGER NOT NULL DEFAULT 0, -- workers that died with it, in a row
  at_most_once BOOLEAN NOT NULL,
  leases INTEGER NOT NULL DEFAULT 0, -- how many there were
  token BYTEA,
  lease_until BIGINT,
  attempt_until BIGINT,              -- no lease goes beyond
  is_accepted BOOLEAN NOT NULL DEFAULT FALSE,
  worker TEXT,
  poll TEXT,
  cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
  version BIGINT NOT NULL DEFAULT 1,
  ttl_ms BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  run_at BIGINT,                     -- while it is scheduled
  start_by BIGINT,                   -- until it was started
  ready_at BIGINT,
  started_at BIGINT,
  finished_at BIGINT,
  expires_at BIGINT,                 -- once it is final
  callback_url TEXT
) WITH (
  fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02
);
CREATE SEQUENCE job_numbers OWNED BY jobs.number;
CREATE INDEX jobs_ready ON jobs (language, rank, turn, number) WHERE state = 'ready';
CREATE INDEX jobs_ready_since ON jobs (language, ready_at) WHERE state = 'ready';
CREATE INDEX jobs_scheduled ON jobs (run_at) WHERE state = 'scheduled';
-- Not by the time that they end: an extended lease is then no work for any index, and there are no
-- more of them than the fleet can run.
CREATE INDEX jobs_leased ON jobs (caller) WHERE state = 'leased';
CREATE INDEX jobs_start_by ON jobs (start_by)
  WHERE start_by IS NOT NULL AND state IN ('ready', 'scheduled');
CREATE INDEX jobs_expires ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_of_caller ON jobs (caller, number);

CREATE TABLE bodies (number BIGINT PRIMARY KEY, body BYTEA NOT NULL)
  WITH (autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE results (
  number BIGINT PRIMARY KEY,
  token BYTEA NOT NULL,
  digest BYTEA NOT NULL,
  body BYTEA NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE attempts (
  number BIGINT NOT NULL,
  lease INTEGER NOT NULL,
  worker TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  reason TEXT,
  PRIMARY KEY (number, lease)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE keys (
  caller TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BYTEA NOT NULL,
  id BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (caller, key)
) WITH (autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX keys_expire ON keys (expires_at);

-- Whose turn it is: start-time fair queueing, stamped when a job becomes ready.
CREATE TABLE shares (
  caller TEXT NOT NULL,
  language TEXT NOT NULL,
  last_turn DOUBLE PRECISION NOT NULL,
  expected_s DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (caller, language)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

CREATE TABLE languages (
  language TEXT PRIMARY KEY,
  turn DOUBLE PRECISION NOT NULL,    -- of the last job that was claimed
  average_ms DOUBLE PRECISION
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000);

CREATE TABLE callbacks (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id BYTEA NOT NULL,
  caller TEXT NOT NULL,
  url TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  due_at BIGINT,                     -- none once it is over
  reason TEXT,                       -- why it was not taken; none once it was
  expires_at BIGINT NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX callbacks_due ON callbacks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_of_caller ON callbacks (caller, number);
CREATE INDEX callbacks_expire ON callbacks (expires_at);

-- Counting jobs must not take longer the more there are, nor the more callers.
CREATE TABLE counts (
  caller TEXT NOT NULL,
  state TEXT NOT NULL,
  jobs BIGINT NOT NULL,
  PRIMARY KEY (caller, state)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE TABLE totals (
  language TEXT NOT NULL,
  state TEXT NOT NULL,
  jobs BIGINT NOT NULL,
  PRIMARY KEY (language, state)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000);

-- Once for a statement, however many jobs it is about.
CREATE FUNCTION count_in() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO flotilla.counts AS c SELECT caller, state, count(*) FROM added GROUP BY 1, 2
    ON CONFLICT (caller, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  INSERT INTO flotilla.totals AS c SELECT language, state, count(*) FROM added GROUP BY 1, 2
    ON CONFLICT (language, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  RETURN NULL;
END $$;
CREATE FUNCTION count_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO flotilla.counts AS c SELECT caller, state, sum(step) FROM
    (SELECT caller, state, 1 AS step FROM added UNION ALL SELECT caller, state, -1 FROM gone) AS steps
    GROUP BY 1, 2 HAVING sum(step) <> 0
    ON CONFLICT (caller, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  INSERT INTO flotilla.totals AS c SELECT language, state, sum(step) FROM
    (SELECT language, state, 1 AS step FROM added UNION ALL SELECT language, state, -1 FROM gone) AS steps
    GROUP BY 1, 2 HAVING sum(step) <> 0
    ON CONFLICT (language, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  RETURN NULL;
END $$;
CREATE FUNCTION count_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO flotilla.counts AS c SELECT caller, state, -count(*) FROM gone GROUP BY 1, 2
    ON CONFLICT (caller, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  INSERT INTO flotilla.totals AS c SELECT language, state, -count(*) FROM gone GROUP BY 1, 2
    ON CONFLICT (language, state) DO UPDATE SET jobs = c.jobs + excluded.jobs;
  RETURN NULL;
END $$;
CREATE TRIGGER job_counted AFTER INSERT ON jobs
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_in();
CREATE TRIGGER job_counted_anew AFTER UPDATE ON jobs
  REFERENCING OLD TABLE AS gone NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_anew();
CREATE TRIGGER job_counted_out AFTER DELETE ON jobs
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_out();
