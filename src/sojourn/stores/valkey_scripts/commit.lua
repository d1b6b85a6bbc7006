-- Replace a record if the one that is there is alive, of the version and generation that were loaded, and not leased
-- by another.
-- KEYS: record, epoch, log, and, where the deadline comes nearer: due, bucket
-- ARGV: now, base version, base generation, fence held, blob, accessed, leased, fence, room, second, history, fact ...
-- Answers 1; 0 if there is no record; or, if it may not pass, the record as it is, for the caller to say why.
local now = clock(ARGV[1])
local head = read_head(KEYS[1])
local held = tonumber(ARGV[4])
local free = head ~= nil and ((held == 0 and head.leased <= now) or (held ~= 0 and head.fence == held))
if not (free and head.version == ARGV[2] and head.generation == tonumber(ARGV[3])
    and is_alive(head, epoch_of(KEYS[2]), now)) then
  local epoch = redis.call('GET', KEYS[2])
  return {redis.call('GET', KEYS[1]), epoch, string.format('%.17g', now)}
end
local accessed = tonumber(ARGV[6])
if ARGV[1] == '' and accessed > now then
  accessed = now -- a machine whose clock is ahead
end
local leased, fence = tonumber(ARGV[7]), tonumber(ARGV[8])
if fence < head.fence then
  leased, fence = head.leased, head.fence -- the commit was made before the lease was taken
end
redis.call('SET', KEYS[1], ARGV[5])
write_head(KEYS[1], math.max(head.accessed, accessed), leased, fence, head.epoch)
local after = read_head(KEYS[1])
keep_until(KEYS[1], deadline_of(after), tonumber(ARGV[9]), now)
if KEYS[4] then
  redis.call('RPUSH', KEYS[5], string.match(KEYS[1], '[^:]*$'))
  redis.call('ZADD', KEYS[4], ARGV[10], ARGV[10])
end
for at = 12, #ARGV do
  note(KEYS[3], ARGV[11], ARGV[at])
end
return 1
