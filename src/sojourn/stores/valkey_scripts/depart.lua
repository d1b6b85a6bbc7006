-- Drop a session from among those of a user whom it has left, unless it is that user's again.
-- KEYS: user
-- ARGV: handle, signed in at (as it was entered)
-- Answers how many were dropped.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) == tonumber(ARGV[2]) then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
