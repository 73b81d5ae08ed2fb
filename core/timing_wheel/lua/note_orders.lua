#!lua flags=
-- Purpose: the order directory (E7): write what the event says of the order, then read all of it.
-- KEYS[1...] pairs of directory buckets: present generation, generation before
-- ARGV[1] number of notes, <= 128
-- ARGV[2] notes, 26 bytes each: order key 8, contact key 8 (zeros: none), stop event type H
--   (0: none), time I6, bucket pair H from 0
-- Returns: one string; for each note: contacts B, tombstones B, contact keys 8 each, tombstones 8
--   each (event type H, time I6). At most 255 of each are kept.
-- Atomicity: all notes or none; so of a checkout and a cancellation the second sees the first.
-- Cost: O(notes)
local sub, byte, char, call = string.sub, string.byte, string.char, redis.call
local NO_KEY = string.rep('\0', 8)

local function has(list, wanted, width)
  local length = #wanted
  for at = 1, #list, width do
    if sub(list, at, at + length - 1) == wanted then return true end
  end
  return false
end

-- Until the first generation has passed there is none before it: one question for all buckets then
-- saves one for each note.
local before = {}
for i = 2, #KEYS, 2 do before[i / 2] = KEYS[i] end
local has_before = #before > 0 and call('EXISTS', unpack(before)) > 0

local notes, answers = ARGV[2], {}
for i = 0, tonumber(ARGV[1]) - 1 do
  local at = i * 26 + 1
  local order, contact = sub(notes, at, at + 7), sub(notes, at + 8, at + 15)
  local stop_low, stop_high = byte(notes, at + 16, at + 17)
  local low, high = byte(notes, at + 24, at + 25)
  local present = low * 2 + high * 512 + 1
  local here = call('HGET', KEYS[present], order)
  local held = here or has_before and call('HGET', KEYS[present + 1], order)
  local contacts, tombstones, count = '', '', 0
  if held then
    count = byte(held, 1)
    contacts, tombstones = sub(held, 3, 2 + count * 8), sub(held, 3 + count * 8)
  end
  if contact ~= NO_KEY and count < 255 and not has(contacts, contact, 8) then
    contacts = contacts .. contact
  end
  if stop_low + stop_high > 0 and #tombstones < 255 * 8 then
    local stop = sub(notes, at + 16, at + 17)
    if not has(tombstones, stop, 8) then tombstones = tombstones .. sub(notes, at + 16, at + 23) end
  end
  local value = char(#contacts / 8, #tombstones / 8) .. contacts .. tombstones
  if value ~= here and #value > 2 then call('HSET', KEYS[present], order, value) end
  answers[i + 1] = value
end
return table.concat(answers)
