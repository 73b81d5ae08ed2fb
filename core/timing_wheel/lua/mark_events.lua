#!lua flags=
-- Purpose: first sight of event ids (E6); the first body and contact stay.
-- KEYS[1...] pairs of directory buckets: present generation, generation before
-- ARGV[1] number of marks, <= 128
-- ARGV[2] marks, 26 bytes each: event key 8, body hash 8, contact key 8, bucket pair H from 0
-- Returns: one string, 10 bytes a mark: is_new B, is_same_body B, contact key 8
-- Atomicity: all marks or none; the mark is never proof that the event was applied.
-- Cost: O(marks)
local sub, byte, call = string.sub, string.byte, redis.call
local marks, answers = ARGV[2], {}

-- Until the first generation has passed there is none before it: one question for all buckets then
-- saves one for each mark.
local before = {}
for i = 2, #KEYS, 2 do before[i / 2] = KEYS[i] end
local has_before = #before > 0 and call('EXISTS', unpack(before)) > 0

for i = 0, tonumber(ARGV[1]) - 1 do
  local at = i * 26 + 1
  local key, value = sub(marks, at, at + 7), sub(marks, at + 8, at + 23)
  local low, high = byte(marks, at + 24, at + 25)
  local present = low * 2 + high * 512 + 1
  local held = has_before and call('HGET', KEYS[present + 1], key)
  if not held and call('HSETNX', KEYS[present], key, value) == 0 then
    held = call('HGET', KEYS[present], key)
  end
  if not held then
    answers[i * 2 + 1] = '\1\1'
    answers[i * 2 + 2] = sub(value, 9, 16)
  else
    answers[i * 2 + 1] = sub(held, 1, 8) == sub(value, 1, 8) and '\0\1' or '\0\0'
    answers[i * 2 + 2] = sub(held, 9, 16)
  end
end
return table.concat(answers)
