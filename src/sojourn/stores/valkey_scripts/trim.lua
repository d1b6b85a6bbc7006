#!lua flags=allow-oom
-- Drop facts that are older than they are kept, but the newest of those: it tells its reader that nothing was missed.
-- KEYS: log
-- ARGV: now, seconds for which facts are kept, how many are looked at
-- Answers 1 if there may be more of them, else 0.
local since = clock(ARGV[1]) - tonumber(ARGV[2])
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[3])
local boundary = 1
while entries[boundary + 1] and cmsgpack.unpack(entries[boundary + 1][2][2])[3] < since do
  boundary = boundary + 1
end
if boundary > 1 then
  redis.call('XTRIM', KEYS[1], 'MINID', entries[boundary][1])
end
return boundary == tonumber(ARGV[3]) and 1 or 0
