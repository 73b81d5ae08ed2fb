#!lua flags=
-- Purpose: first sight of event ids (E6); the first body and contact stay.
-- KEYS[1...] pairs of directory buckets: present generation, generation before
-- ARGV[1] number of marks, <= 128
-- ARGV[2] marks, 26 bytes each: event key 8, body hash 8, contact key 8, bucket pair H from 0
-- Returns: one string, 10 bytes a mark: is_new B, is_same_body B, contact key 8
-- Atomicity: all marks or none; the mark is never proof that the event was applied.
-- Cost: O(marks)
local sub = string.sub
local marks, answers = ARGV[2], {}
for i = 0, tonumber(ARGV[1]) - 1 do
  local at = i * 26 + 1
  local key, value = sub(marks, at, at + 7), sub(marks, at + 8, at + 23)
  local pair = struct.unpack('<H', marks, at + 24)
  local held = redis.call('HGET', KEYS[pair * 2 + 2], key)
  if not held and redis.call('HSETNX', KEYS[pair * 2 + 1], key, value) == 0 then
    held = redis.call('HGET', KEYS[pair * 2 + 1], key)
  end
  if not held then
    answers[i + 1] = '\1\1' .. sub(value, 9, 16)
  else
    answers[i + 1] = (sub(held, 1, 8) == sub(value, 1, 8) and '\0\1' or '\0\0') .. sub(held, 9, 16)
  end
end
return table.concat(answers)
