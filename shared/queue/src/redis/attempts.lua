-- The attempts of a job. ARGV[3]: which. Answers worker, start, end and reason of each.
local answers = {}
for _, packed in ipairs(call('LRANGE', of('attempts', ARGV[3]), 0, -1)) do
  local attempt = cmsgpack.unpack(packed)
  answers[#answers + 1] = {
    attempt[1], attempt[2], attempt[3] or false, attempt[4] or false,
  }
end
return answers
