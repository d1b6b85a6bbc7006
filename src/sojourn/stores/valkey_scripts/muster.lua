#!lua flags=allow-oom
-- Begin to end all sessions of a user: those that are only being made now will find that they may not stay.
-- KEYS: user
-- Answers the handles entered.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {}
end
redis.call('ZINCRBY', KEYS[1], 1, '')
return redis.call('ZRANGE', KEYS[1], 0, -1)
