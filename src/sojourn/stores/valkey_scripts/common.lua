-- What every script begins with: the head of a record (see valkey_blob.py), the time, facts, and hints.
-- A script touches the keys that it is given, and no others; they lie in one slot.

local MUTABLE = '>ddI4I4I4'
local HEAD = '>ddI4I4I4c8I4dd'
local HEAD_BYTES = 61

-- The time: the caller's if given, else the server's, which is the same for all callers.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Whole seconds and the rest of them apart, so that nothing of a double is lost.
local function check_of(accessed, leased, fence, epoch)
  local seconds, until_seconds = math.floor(accessed), math.floor(leased)
  return (seconds + 3 * math.floor((accessed - seconds) * 4194304) + 5 * until_seconds
    + 7 * math.floor((leased - until_seconds) * 4194304) + 11 * fence + 13 * epoch) % 4294967291
end

-- The head of the record at a key; nil if there is none, or none that is whole.
local function read_head(key)
  local raw = redis.call('GETRANGE', key, 0, HEAD_BYTES - 1)
  if #raw < HEAD_BYTES then
    return nil
  end
  local accessed, leased, fence, epoch, check, version, generation, idle_for, ends =
    struct.unpack(HEAD, raw, 6)
  if check ~= check_of(accessed, leased, fence, epoch) then
    return nil
  end
  return {
    accessed = accessed, leased = leased, fence = fence, epoch = epoch,
    version = version, generation = generation, idle_for = idle_for, ends = ends,
  }
end

-- Write what scripts may change of a head, in place.
local function write_head(key, accessed, leased, fence, epoch)
  local check = check_of(accessed, leased, fence, epoch)
  redis.call('SETRANGE', key, 5, struct.pack(MUTABLE, accessed, leased, fence, epoch, check))
end

local function deadline_of(head)
  return math.min(head.accessed + head.idle_for, head.ends)
end

-- The number in the epoch key; nil where there is none. The rest of its value names this life of the store.
local function epoch_of(key)
  local raw = redis.call('GET', key)
  return raw and (struct.unpack('>I4', raw))
end

local function is_alive(head, epoch, now)
  return head ~= nil and head.epoch == epoch and now < deadline_of(head)
end

-- Milliseconds after which the server's own expiry collects what no cleaner came to collect, long after the session was
-- over; nil: never.
local function time_to_keep(deadline, room, now)
  local left = math.max(deadline - now, 0) + room
  return left < 1e9 and string.format('%.0f', left * 1000) or nil
end

local function keep(key, deadline, room, now)
  local milliseconds = time_to_keep(deadline, room, now)
  if milliseconds then
    redis.call('PEXPIRE', key, milliseconds)
  else
    redis.call('PERSIST', key)
  end
end

-- Store a record whose blob says so much of its head; what is otherwise is written over it.
local function put(key, blob, said, head, room, now)
  local milliseconds = time_to_keep(deadline_of(head), room, now)
  if milliseconds then
    redis.call('SET', key, blob, 'PX', milliseconds)
  else
    redis.call('SET', key, blob)
  end
  if head.epoch ~= 0 or head.accessed ~= said.accessed or head.leased ~= said.leased or head.fence ~= said.fence then
    write_head(key, head.accessed, head.leased, head.fence, head.epoch)
  end
end

-- Tell who watches. What was written stands, whatever comes of that: a user whom the server's access rules allow no
-- channels writes all the same.
local function tell(channel, hint)
  redis.pcall('PUBLISH', channel, hint)
end

-- Entries are named by the microsecond, so that those of several shards can be brought into one order; where the
-- server's clock went back, by what comes after the last.
local function note(log, history, fact)
  local time = redis.call('TIME')
  local name = string.format('%s%06d-*', time[1], time[2])
  local done = redis.pcall('XADD', log, 'MAXLEN', '~', history, name, 'f', fact)
  if type(done) == 'table' and done.err then
    redis.call('XADD', log, 'MAXLEN', '~', history, '*', 'f', fact)
  end
end
