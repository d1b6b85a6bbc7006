-- Replace a record if the one that is there is alive, of the version and generation that were loaded, and not leased
-- by another.
-- KEYS: record, epoch, log, and, where the deadline comes nearer: due, bucket
-- ARGV: now, base version, base generation, fence held, blob, accessed, leased, fence, idle_for, ends, room, second,
--       history, channel, hint, size of a patch, patch ..., fact ...
-- A patch is written over the record, if the check of that is the patch's first value: places and bytes, the record's
-- head among them. Without one, the record becomes the blob.
-- Answers 1; 0 if the patch does not fit; or, if it may not pass, the record as it is, for the caller to say why, the epoch, and the time.
local now = clock(ARGV[1])
local head = read_head(KEYS[1])
local held = tonumber(ARGV[4])
local free = head ~= nil and ((held == 0 and head.leased <= now) or (held ~= 0 and head.fence == held))
if not (free and head.version == ARGV[2] and head.generation == tonumber(ARGV[3])
    and is_alive(head, epoch_of(KEYS[2]), now)) then
  local epoch = redis.call('GET', KEYS[2])
  return {redis.call('GET', KEYS[1]), epoch, string.format('%.17g', now)}
end
local said = {accessed = tonumber(ARGV[6]), leased = tonumber(ARGV[7]), fence = tonumber(ARGV[8])}
local after = {
  accessed = said.accessed, leased = said.leased, fence = said.fence, epoch = head.epoch,
  idle_for = tonumber(ARGV[9]), ends = tonumber(ARGV[10]),
}
if ARGV[1] == '' and after.accessed > now then
  after.accessed = now -- a machine whose clock is ahead
end
after.accessed = math.max(after.accessed, head.accessed)
if said.fence < head.fence then
  after.leased, after.fence = head.leased, head.fence -- the commit was made before the lease was taken
end
local patch = tonumber(ARGV[16])
if patch > 0 then
  if redis.call('GETRANGE', KEYS[1], 1, 4) ~= ARGV[17] then
    return 0
  end
  for at = 18, 16 + patch, 2 do
    redis.call('SETRANGE', KEYS[1], ARGV[at], ARGV[at + 1])
  end
  write_head(KEYS[1], after.accessed, after.leased, after.fence, after.epoch)
  keep(KEYS[1], deadline_of(after), tonumber(ARGV[11]), now)
else
  put(KEYS[1], ARGV[5], said, after, tonumber(ARGV[11]), now)
end
if KEYS[4] then
  redis.call('RPUSH', KEYS[5], string.match(KEYS[1], '[^:]*$'))
  redis.call('ZADD', KEYS[4], ARGV[12], ARGV[12])
end
for at = 17 + patch, #ARGV do
  note(KEYS[3], ARGV[13], ARGV[at])
end
tell(ARGV[14], ARGV[15])
return 1
