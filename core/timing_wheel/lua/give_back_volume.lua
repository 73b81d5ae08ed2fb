#!lua flags=
-- Purpose: return what a token took from a budget and did not use (R29).
-- KEYS[1] volume hash, as `take_volume.lua` draws it
-- ARGV[1] token               ARGV[2] how many of what it took it does not use, in all
-- Returns: how many came back by this call
-- Atomicity: all or nothing. A repetition returns nothing more.
-- Cost: O(1)
local call, pack, unpack_ = redis.call, struct.pack, struct.unpack
local known = call('HGET', KEYS[1], 't' .. ARGV[1])
if not known then return 0 end
local entry = 'e' .. string.format('%.0f', unpack_('<I6', known))
local take = call('HGET', KEYS[1], entry)
local time, held, granted = unpack_('<I6I4I4', take)
local kept = math.min(held, math.max(0, granted - tonumber(ARGV[2])))
if kept < held then
  call('HSET', KEYS[1], entry, pack('<I6I4I4', time, kept, granted) .. string.sub(take, 15))
  call('HINCRBY', KEYS[1], 'total', kept - held)
end
return held - kept
