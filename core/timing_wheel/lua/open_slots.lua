#!lua flags=
-- Purpose: from now on, commits due before `until` go to the near lane; slots before it only shrink.
-- KEYS[1] meta hash
-- ARGV[1] epoch               ARGV[2] nonce             ARGV[3] until, epoch ms
-- Returns: 1, or 0 if the caller does not own the partition
-- Atomicity: compare and set; never lowers.
-- Cost: O(1)
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'loaded_until')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 0 end
if tonumber(meta[3] or 0) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'loaded_until', ARGV[3])
end
return 1
