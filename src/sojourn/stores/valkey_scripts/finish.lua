#!lua flags=allow-oom
-- End sessions: delete their records and make their facts.
-- KEYS: epoch, log, count, then a record each
-- ARGV: now, reason, history, only the dead ('1' or ''), only of this user, whether there is such a user ('1' or ''),
--       only those without activity since ('' for all), channel of all news, to which the handle is added
-- Answers, for each record, false if there is none; its user (false for none) and the reason if it ended; and else
-- its deadline.
local now = clock(ARGV[1])
local epoch = epoch_of(KEYS[1]) or 0
local since = tonumber(ARGV[7])
local answers = {}

-- The user in a record's head: its length, or 254 and four bytes of length, or 255 for none.
local function user_of(key)
  local raw = redis.call('GETRANGE', key, HEAD_BYTES, HEAD_BYTES + 254)
  local length = string.byte(raw) or 255
  if length == 255 then
    return false
  elseif length < 254 then
    return string.sub(raw, 2, 1 + length)
  end
  length = struct.unpack('>I4', raw, 2)
  return redis.call('GETRANGE', key, HEAD_BYTES + 5, HEAD_BYTES + 4 + length)
end

for at = 4, #KEYS do
  local key = KEYS[at]
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    answers[#answers + 1] = false
  else
    local head = kind == 'string' and read_head(key) or nil
    local user = head ~= nil and user_of(key)
    local dead = head ~= nil and not is_alive(head, epoch, now)
    local matches = (ARGV[4] == '' or dead) and (ARGV[6] == '' or user == ARGV[5])
      and (ARGV[7] == '' or (head ~= nil and head.accessed <= since))
    if matches then
      local reason = ARGV[2]
      if head ~= nil and head.epoch ~= epoch then
        reason = 'revoked'
      elseif dead then
        reason = 'expired'
      end
      local handle = string.match(key, '[^:]*$')
      redis.call('DEL', key)
      redis.call('DECR', KEYS[3])
      note(KEYS[2], ARGV[3], cmsgpack.pack({false, 'ended', now, handle, user, reason}))
      tell(ARGV[8] .. handle, cmsgpack.pack({user, false, false, true, true}))
      answers[#answers + 1] = {user, reason, string.format('%.17g', now)}
    else
      answers[#answers + 1] = head ~= nil and string.format('%.17g', deadline_of(head)) or 'inf'
    end
  end
end
return answers
