-- Ends a job that is not wanted any more, or asks its worker to. ARGV[3]: the job.
local job = find(ARGV[3])
if not job then
  return 'unknown'
end
if FINAL[job.state] then
  return job.state
end
local answer = 'now'
if job.state == 'leased' then
  change(job, { cancel = '1', version = job.version + 1 })
  changed[1] = job.id
  answer = 'requested'
else
  finish(job, 'cancelled')
end
tell()
return answer
