#!lua flags=allow-oom
-- Make all sessions of a shard dead in one step: a new epoch, to which none of them belongs.
-- KEYS: epoch, and the record that is to live on, if one is
-- ARGV: name of this life, channel
local raw = redis.call('GET', KEYS[1]) or (struct.pack('>I4', 0) .. ARGV[1])
local epoch = struct.unpack('>I4', raw)
redis.call('SET', KEYS[1], struct.pack('>I4', epoch + 1) .. string.sub(raw, 5))
if KEYS[2] then
  local head = read_head(KEYS[2])
  if head ~= nil and head.epoch == epoch then
    write_head(KEYS[2], head.accessed, head.leased, head.fence, epoch + 1)
  end
end
tell(ARGV[2], '')
return 1
