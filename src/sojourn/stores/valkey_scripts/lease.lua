-- Take the lease, whatever the version; or stand in line for it.
-- KEYS: record, epoch, line
-- ARGV: now, generation, seconds to hold, name ('' for none), seconds to wait in line (0: leave it)
-- The line is the holder's name (false for none), the number of its lease, and who waits and until when, in the order of
-- their arrival.
-- Answers whether it was taken ('taken'; 'kept': by this name, earlier; 'held'), and the record; 'gone' if the session is
-- not alive or of another generation; 'damaged'.
local now = clock(ARGV[1])
local head = read_head(KEYS[1])
if head == nil then
  return {redis.call('EXISTS', KEYS[1]) == 1 and 'damaged' or 'gone'}
end
if head.generation ~= tonumber(ARGV[2]) or not is_alive(head, epoch_of(KEYS[2]), now) then
  return {'gone'}
end
local name = ARGV[4]
local raw = redis.call('GET', KEYS[3])
local before = raw and cmsgpack.unpack(raw) or {false, 0}
if head.leased > now and name ~= '' and before[1] == name and before[2] == head.fence then
  return {'kept', redis.call('GET', KEYS[1])}
end

local first = name
for at = #before - 1, 3, -2 do
  if before[at + 1] > now then
    first = before[at]
  end
end
local free = head.leased <= now and (name == '' or first == name)
local line, latest = {before[1], before[2]}, 0
if free then
  latest = now + tonumber(ARGV[3])
  line = {name ~= '' and name, head.fence + 1}
  write_head(KEYS[1], head.accessed, latest, head.fence + 1, head.epoch)
end

-- Those who still wait, with this one where it was, or at the end.
local until_then = free and 0 or now + tonumber(ARGV[5])
local stands = name == '' or until_then <= now
local function place(who, until_when)
  if until_when > now then
    line[#line + 1], line[#line + 2] = who, until_when
    latest = math.max(latest, until_when)
  end
end
for at = 3, #before, 2 do
  if before[at] == name then
    stands = true
    place(name, until_then)
  else
    place(before[at], before[at + 1])
  end
end
if not stands then
  place(name, until_then)
end
if line[1] or #line > 2 then
  -- By then nobody is in it. The minute is for a caller whose clock stands still.
  local kept = math.min(math.max(latest, head.leased) - now + 60, 1e9)
  redis.call('SET', KEYS[3], cmsgpack.pack(line), 'PX', string.format('%.0f', kept * 1000))
elseif raw then
  redis.call('DEL', KEYS[3])
end
return {free and 'taken' or 'held', redis.call('GET', KEYS[1])}
