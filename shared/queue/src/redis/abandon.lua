-- Ends the leases of a worker that has none. ARGV[3], ARGV[4]: the worker, and whether it died with what
-- it ran. Answers the jobs.
local function cut(job)
  note_attempt(job, 'abandoned')
  if job.accepted and job.at_most_once then
    finish(job, 'dead', 'lost')
  else
    give_back(job)
  end
end

local ended = call('ZRANGE', name('worker', ARGV[3]), 0, -1)
for _, id in ipairs(ended) do
  local job = find(id)
  if not job.accepted or ARGV[4] ~= '1' then
    cut(job)
  elseif not died(job) then
    move(job, 'ready', { token = false, lease_until = false })
  end
end
tell()
return ended
