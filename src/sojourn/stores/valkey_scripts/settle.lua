-- What decides whether a session that has become its user's may stay.
-- KEYS: user
-- ARGV: handle
-- Answers the user's epoch, and when the session signed in: nothing if it is not entered, negative if it is evicted.
return {redis.call('ZSCORE', KEYS[1], '') or '0', redis.call('ZSCORE', KEYS[1], ARGV[1])}
