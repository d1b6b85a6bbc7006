-- Take the lease, whatever the version.
-- KEYS: record, epoch
-- ARGV: now, generation, seconds to hold
-- Answers whether it was taken ('taken', 'held'), and the record; 'gone' if the session is not alive or of another
-- generation; 'damaged'.
local now = clock(ARGV[1])
local head = read_head(KEYS[1])
if head == nil then
  return {redis.call('EXISTS', KEYS[1]) == 1 and 'damaged' or 'gone'}
end
if head.generation ~= tonumber(ARGV[2]) or not is_alive(head, epoch_of(KEYS[2]), now) then
  return {'gone'}
end
local free = head.leased <= now
if free then
  write_head(KEYS[1], head.accessed, now + tonumber(ARGV[3]), head.fence + 1, head.epoch)
end
return {free and 'taken' or 'held', redis.call('GET', KEYS[1])}
