-- The last attempts of a job. ARGV[3]: which. Answers number, worker, start, end and reason of each.
local answers = {}
local kept = call('LRANGE', of('attempts', ARGV[3]), 0, -1)
local before = number_of(call('HGET', of('job', ARGV[3]), 'leases')) - #kept
for index, packed in ipairs(kept) do
  local attempt = cmsgpack.unpack(packed)
  answers[index] = {
    before + index, attempt[1], attempt[2], attempt[3] or false, attempt[4] or false,
  }
end
return answers
