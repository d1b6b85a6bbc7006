-- Take handles out of a bucket of deadlines, and put those that live on into the buckets where they belong now.
-- Whoever else does the same finds nothing to take out, and puts nothing in.
-- KEYS: due, the bucket, then a new bucket for each that lives on
-- ARGV: second of the bucket, how many live on, those (handle, second) ..., those that are gone ...
local living = tonumber(ARGV[2])
for number = 1, living do
  local handle, second = ARGV[1 + 2 * number], ARGV[2 + 2 * number]
  if redis.call('LREM', KEYS[2], 1, handle) > 0 then
    redis.call('RPUSH', KEYS[2 + number], handle)
    redis.call('ZADD', KEYS[1], second, second)
  end
end
for at = 3 + 2 * living, #ARGV do
  redis.call('LREM', KEYS[2], 1, ARGV[at])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
