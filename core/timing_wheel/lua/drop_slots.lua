#!lua flags=
-- Purpose: forget slot numbers whose slot holds nothing.
-- KEYS[1] slots zset          KEYS[2...] slot zsets
-- ARGV[1...] the number of each slot, in the order of KEYS[2...]
-- Returns: how many were forgotten
-- Atomicity: a slot that gained an entry meanwhile keeps its number.
-- Cost: O(slots)
local dropped = 0
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[1], ARGV[i - 1])
  end
end
return dropped
