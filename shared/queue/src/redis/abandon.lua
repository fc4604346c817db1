-- Ends the leases of a worker that has none. ARGV[3]: the worker. Answers the jobs.
local ended = call('ZRANGE', name('worker', ARGV[3]), 0, -1)
for _, id in ipairs(ended) do
  local job = find(id)
  note_attempt(job, 'abandoned')
  if job.accepted and job.at_most_once then
    finish(job, 'dead', 'lost')
  else
    give_back(job)
  end
end
tell()
return ended
