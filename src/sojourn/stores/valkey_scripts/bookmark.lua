#!lua flags=allow-oom
-- Keep up to where a reader has read, and who holds it.
-- KEYS: reader
-- ARGV: now, holder, seconds to hold, position ('' to leave it)
-- Answers the position ('' for that of a new reader); nothing while another holds it.
local now = clock(ARGV[1])
local raw = redis.call('GET', KEYS[1])
local kept = raw and cmsgpack.unpack(raw) or {'', ARGV[2], 0}
if kept[2] ~= ARGV[2] and kept[3] > now then
  return false
end
local position = ARGV[4] ~= '' and ARGV[4] or kept[1]
redis.call('SET', KEYS[1], cmsgpack.pack({position, ARGV[2], now + tonumber(ARGV[3])}))
return position
