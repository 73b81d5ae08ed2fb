#!lua flags=
-- Purpose: take a contact out of the directory entries of orders and aliases (R22); tombstones stay.
-- KEYS[1...] pairs of directory buckets: present generation, generation before
-- ARGV[1] contact key 8       ARGV[2] number of orders, <= 128
-- ARGV[3] orders, 10 bytes each: order key 8, bucket pair H from 0
-- Returns: how many entries changed
-- Atomicity: all orders or none. Idempotent.
-- Cost: O(orders)
local sub, byte, char, call = string.sub, string.byte, string.char, redis.call
local contact, orders, changed = ARGV[1], ARGV[3], 0

-- The contact keys of an entry without the contact.
local function without(held, count)
  local parts = {}
  for i = 0, count - 1 do
    local one = sub(held, 3 + i * 8, 10 + i * 8)
    if one ~= contact then parts[#parts + 1] = one end
  end
  return table.concat(parts)
end

local function forget(bucket, order)
  local held = call('HGET', bucket, order)
  if not held then return end
  local count = byte(held, 1)
  local left = without(held, count)
  if #left == count * 8 then return end
  changed = changed + 1
  local value = char(#left / 8, byte(held, 2)) .. left .. sub(held, 3 + count * 8)
  if #value == 2 then
    call('HDEL', bucket, order)
  else
    call('HSET', bucket, order, value)
  end
end

for i = 0, tonumber(ARGV[2]) - 1 do
  local order = sub(orders, i * 10 + 1, i * 10 + 8)
  local low, high = byte(orders, i * 10 + 9, i * 10 + 10)
  forget(KEYS[low * 2 + high * 512 + 1], order)
  forget(KEYS[low * 2 + high * 512 + 2], order)
end
return changed
