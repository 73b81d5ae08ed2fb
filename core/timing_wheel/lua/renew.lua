#!lua flags=
-- Purpose: show that the owner lives, or give the partition back.
-- KEYS[1] meta hash
-- ARGV[1] epoch               ARGV[2] nonce             ARGV[3] "renew" or "release"
-- Returns: 1 if the caller owned the partition, else 0
-- Atomicity: compare and set.
-- Cost: O(1)
local owner = redis.call('HMGET', KEYS[1], 'epoch', 'nonce')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return 0 end
if ARGV[3] == 'release' then
  redis.call('HSET', KEYS[1], 'nonce', '')
else
  redis.call('HINCRBY', KEYS[1], 'renewals', 1)
end
return 1
