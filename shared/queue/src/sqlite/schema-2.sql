-- The first jobs of a caller, however many of others are before them.
CREATE INDEX jobs_ready_of_caller ON jobs (language, caller, priority DESC, turn, number)
  WHERE state = 'ready';
-- Jobs in states that few are in are listed without going through all others.
CREATE INDEX jobs_rare ON jobs (state, number) WHERE state IN ('dead', 'cancelled', 'expired');
-- Callbacks that were not taken.
DROP INDEX callbacks_of_caller;
CREATE INDEX callbacks_open ON callbacks (caller, number)
  WHERE due_at IS NOT NULL OR reason IS NOT NULL;
