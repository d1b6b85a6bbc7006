-- Add a record, its entry among the deadlines, and its fact.
-- KEYS: record, epoch, log, count, due, bucket
-- ARGV: now, blob, accessed, leased, fence, idle_for, ends, room, second, name of this life, history,
--       channel, hint, fact ...
-- Answers 1, or, if the record is there already, the record; and the epoch.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
end
local said = {
  accessed = tonumber(ARGV[3]), leased = tonumber(ARGV[4]), fence = tonumber(ARGV[5]),
  idle_for = tonumber(ARGV[6]), ends = tonumber(ARGV[7]), epoch = epoch_of(KEYS[2]),
}
if not said.epoch then
  said.epoch = 0
  redis.call('SET', KEYS[2], struct.pack('>I4', 0) .. ARGV[10])
end
put(KEYS[1], ARGV[2], said, said, tonumber(ARGV[8]), clock(ARGV[1]))
redis.call('INCR', KEYS[4])
redis.call('RPUSH', KEYS[6], string.match(KEYS[1], '[^:]*$'))
redis.call('ZADD', KEYS[5], ARGV[9], ARGV[9])
for at = 14, #ARGV do
  note(KEYS[3], ARGV[11], ARGV[at])
end
tell(ARGV[12], ARGV[13])
return {1, redis.call('GET', KEYS[2])}
