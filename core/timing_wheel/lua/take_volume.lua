#!lua flags=
-- Purpose: take messages from a budget of many contacts (R29); the twin of
--   `core/timing_wheel/memory_volume.py`, which explains the promises.
-- KEYS[1] volume hash of the budget. Its fields: total, last (ms), first (number of the oldest take), takes
--   (how many), place, of_it, promised, since: what was promised; "e" and a number: a take, as time I6,
--   held I4, granted I4, token; "t" and a token: the number of its take I6, then its answer
-- ARGV[1] now, epoch ms       ARGV[2] token             ARGV[3] how many
-- ARGV[4] limit               ARGV[5] window, ms        ARGV[6] ms until the key may go; 0: it stays
-- Returns: granted I4, then I6 for each that must wait
-- Atomicity: all or nothing. The same token gives the first answer again within the window.
-- Cost: O(1) amortised, plus O(1) for each that must wait
local call, pack, unpack_ = redis.call, struct.pack, struct.unpack
local key, token, many = KEYS[1], ARGV[2], tonumber(ARGV[3])
local limit, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local held = call('HMGET', key, 'total', 'last', 'first', 'takes', 'place', 'of_it', 'promised', 'since')
local total, last, first, takes = tonumber(held[1] or 0), tonumber(held[2] or 0),
  tonumber(held[3] or 0), tonumber(held[4] or 0)
local place, of_it, promised, since = tonumber(held[5] or -1), tonumber(held[6] or 0),
  tonumber(held[7] or 0), tonumber(held[8] or 0)
local now_ms = math.max(tonumber(ARGV[1]), last)

local function forget_promises()
  place, of_it, promised, since = -1, 0, 0, 0
end

if now_ms - last >= window then
  call('UNLINK', key)
  total, first, takes = 0, 0, 0
  forget_promises()
end

local gone = {}
while takes > 0 do
  local take = call('HGET', key, 'e' .. first)
  local time, keeps = unpack_('<I6I4', take)
  if now_ms - time < window then break end
  gone[#gone + 1] = 'e' .. first
  gone[#gone + 1] = 't' .. string.sub(take, 15)
  total, first, takes = total - keeps, first + 1, takes - 1
end
for i = 1, #gone, 1000 do call('HDEL', key, unpack(gone, i, math.min(i + 999, #gone))) end

local known = call('HGET', key, 't' .. token)
if known then
  call('HSET', key, 'total', total, 'first', first, 'takes', takes)
  return string.sub(known, 7)
end

local granted = math.max(0, math.min(many, limit - total))
local number = first + takes
total, takes = total + granted, takes + 1
local idle = limit - total
if idle > 0 and 2 * idle >= limit and now_ms >= since + window then forget_promises() end

local last_read, read_time, read_held = -1, 0, 0
local function take_at(n)
  if n ~= last_read then
    if n == number then
      read_time, read_held = now_ms, granted
    else
      read_time, read_held = unpack_('<I6I4', call('HGET', key, 'e' .. n))
    end
    last_read = n
  end
  return read_time, read_held
end

local interval = math.ceil(window / math.max(limit, 1))
local function promise()
  if place < first then
    -- Of what is out beyond a lowered limit nothing can be promised.
    place, of_it = first, math.max(0, total - limit)
  end
  local freed = 0
  while place < first + takes do
    local time, keeps = take_at(place)
    if of_it < keeps then
      of_it, freed = of_it + 1, time + window
      break
    end
    of_it, place = of_it - keeps, place + 1
  end
  if promised <= now_ms then since = freed end
  promised = math.max(freed, promised + interval, now_ms + 1)
  return promised
end

local wakes = {}
if limit > 0 then
  for i = 1, many - granted do wakes[i] = pack('<I6', promise()) end
end
local answer = pack('<I4', granted) .. table.concat(wakes)
call('HSET', key, 'total', total, 'last', now_ms, 'first', first, 'takes', takes, 'place', place,
  'of_it', of_it, 'promised', promised, 'since', since,
  'e' .. number, pack('<I6I4I4', now_ms, granted, granted) .. token,
  't' .. token, pack('<I6', number) .. answer)
if tonumber(ARGV[6]) > 0 then call('PEXPIRE', key, ARGV[6]) end
return answer
