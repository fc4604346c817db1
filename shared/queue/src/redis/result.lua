-- The result of a job. ARGV[3]: which.
return call('HGET', of('result', ARGV[3]), 'body')
