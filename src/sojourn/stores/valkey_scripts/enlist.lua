-- Enter a session among those of its user, before it becomes one of them.
-- KEYS: user
-- ARGV: handle, signed in at, milliseconds for which it is kept at least ('' for ever)
-- Answers the user's epoch and who was entered before it: handle, signed in at (negative: being evicted), ...
local epoch = redis.call('ZSCORE', KEYS[1], '') or '0'
local entered = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local left = redis.call('PTTL', KEYS[1])
redis.call('ZADD', KEYS[1], epoch, '', ARGV[2], ARGV[1])
if ARGV[3] == '' or left == -1 then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[3]), left)))
end
return {epoch, entered}
