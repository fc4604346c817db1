-- What is run. ARGV[3]: which job.
return call('GET', of('body', ARGV[3]))
