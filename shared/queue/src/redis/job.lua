-- A job. ARGV[3]: which. Answers its fields, and where it stands if it is ready, or nothing.
local job = find(ARGV[3])
if not job then
  return false
end
local position = -1
if job.state == 'ready' then
  position = call('ZRANK', name('ready', job.priority, job.language), place(job)) or 0
  for priority = job.priority + 1, PRIORITY_MAX do
    position = position + call('ZCARD', name('ready', text(priority), job.language))
  end
end
return { call('HGETALL', of('job', job.id)), position }
