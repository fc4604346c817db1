-- Makes a dead job ready again, with all its attempts. ARGV[3]: the job.
local job = find(ARGV[3])
if not job or job.state ~= 'dead' then
  return 0
end
local turn, cost = take_turn(job.caller, job.language)
move(job, 'ready', {
  attempt = 0, deaths = false, drains = false, reason = false, turn = turn, cost = cost,
  finished_at = false, expires_at = false, cancel = false, start_by = false,
})
tell()
return 1
