#!lua flags=allow-oom
-- Record activity.
-- KEYS: record, epoch
-- ARGV: now, generation, accessed, room
-- Answers 1 if the session is alive and of this generation, else 0; -1 if its head is damaged.
local now = clock(ARGV[1])
local head = read_head(KEYS[1])
if head == nil then
  return redis.call('EXISTS', KEYS[1]) * -1
end
if head.generation ~= tonumber(ARGV[2]) or not is_alive(head, epoch_of(KEYS[2]), now) then
  return 0
end
local accessed = tonumber(ARGV[3])
if ARGV[1] == '' and accessed > now then
  accessed = now -- a machine whose clock is ahead
end
if accessed > head.accessed then
  head.accessed = accessed
  write_head(KEYS[1], head.accessed, head.leased, head.fence, head.epoch)
  keep(KEYS[1], deadline_of(head), tonumber(ARGV[4]), now)
end
return 1
