-- Hands back jobs that were not started. From ARGV[3] a pair for each: job and token. Answers 1 for
-- each whose lease had not ended.
local answers = {}
for at = 3, #ARGV, 2 do
  local job = held(ARGV[at], ARGV[at + 1])
  if job then
    note_attempt(job, 'released')
    give_back(job)
    may_work = true
  end
  answers[#answers + 1] = job and 1 or 0
end
tell()
return answers
