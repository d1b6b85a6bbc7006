-- Add a record, its entry among the deadlines, and its fact.
-- KEYS: record, epoch, log, count, due, bucket
-- ARGV: now, blob, accessed, leased, fence, room, second, name of this life, history, fact ...
-- Answers 1, or, if the record is there already, the record; and the epoch.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
end
local now = clock(ARGV[1])
local epoch = epoch_of(KEYS[2])
if not epoch then
  epoch = 0
  redis.call('SET', KEYS[2], struct.pack('>I4', 0) .. ARGV[8])
end
redis.call('SET', KEYS[1], ARGV[2])
if epoch ~= 0 then
  write_head(KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), epoch)
end
keep_until(KEYS[1], deadline_of(read_head(KEYS[1])), tonumber(ARGV[6]), now)
redis.call('INCR', KEYS[4])
redis.call('RPUSH', KEYS[6], string.match(KEYS[1], '[^:]*$'))
redis.call('ZADD', KEYS[5], ARGV[7], ARGV[7])
for at = 10, #ARGV do
  note(KEYS[3], ARGV[9], ARGV[at])
end
return {1, redis.call('GET', KEYS[2])}
