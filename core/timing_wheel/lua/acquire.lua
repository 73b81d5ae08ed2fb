#!lua flags=
-- Purpose: take a partition whose owner is still the one that was observed (E11, E12).
-- KEYS[1] meta hash
-- ARGV[1] observed epoch      ARGV[2] observed nonce    ARGV[3] observed renewals
-- ARGV[4] own nonce, 8 bytes
-- Returns: the new epoch as text, or '' if the owner changed or renewed meanwhile
-- Atomicity: compare and set.
-- Cost: O(1)
local owner = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'renewals')
local epoch = owner[1] or '0'
if epoch ~= ARGV[1] or (owner[2] or '') ~= ARGV[2] or (owner[3] or '0') ~= ARGV[3] then return '' end
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local taken = string.format('%.0f', math.max(tonumber(epoch) + 1, micros))
redis.call('HSET', KEYS[1], 'epoch', taken, 'nonce', ARGV[4], 'renewals', '0')
return taken
