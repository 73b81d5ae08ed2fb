#!lua flags=
-- Purpose: the least registry revision that a claim must have seen (R13).
-- KEYS[1] meta hash
-- ARGV[1] revision
-- Returns: 1
-- Atomicity: never lowers.
-- Cost: O(1)
local held = redis.call('HGET', KEYS[1], 'registry_revision')
if tonumber(held or 0) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'registry_revision', ARGV[1])
end
return 1
