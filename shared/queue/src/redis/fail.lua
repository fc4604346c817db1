-- Ends attempts that came to nothing. ARGV[3], ARGV[4]: the longest waits, and a seed of chance; then
-- six arguments for each: job, token, reason, whether another attempt may help, whether the program
-- may have run, and how many attempts are given back that end so. Answers a pair for each: what came of
-- it, and when it is tried again.
local waits = waits_from(ARGV[3], ARGV[4])
local answers = {}

local function fail(at)
  local job = held(ARGV[at], ARGV[at + 1])
  if not job then
    return 'stale', 0
  end
  local reason, is_retryable, may_have_run = ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4] == '1'
  note_attempt(job, reason)
  local drains = number_of(job.drains)
  local is_free = drains < tonumber(ARGV[at + 5])
  change(job, { deaths = false, drains = is_free and drains + 1 or nil })
  may_work = true
  if job.cancel then
    finish(job, 'cancelled')
    return 'cancelled', 0
  end
  local is_used_up = not is_free and tonumber(job.attempt) >= tonumber(job.attempts_max)
  local is_over = not is_retryable or is_used_up
  if is_over or (job.at_most_once and may_have_run) then
    finish(job, 'dead', reason)
    return 'dead', 0
  end
  if is_free then
    give_back(job)
    return 'retry', now
  end
  return 'retry', try_again(job, reason, waits)
end

for at = 5, #ARGV, 6 do
  local what, when = fail(at)
  answers[#answers + 1] = what
  answers[#answers + 1] = when
end
tell()
return answers
