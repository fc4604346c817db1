-- The versions of jobs. ARGV[3..]: which. Answers that of each, or nothing where there is none.
local answers = {}
for index = 3, #ARGV do
  answers[#answers + 1] = call('HGET', of('job', ARGV[index]), 'version')
end
return answers
