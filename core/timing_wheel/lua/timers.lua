-- Library: timers as `core/timer_records.py` lays them out: one value per contact, entry after entry, and
-- an index by due time whose members are contact key and timer id.
-- @bound CONTACT_TIMERS_MAX
local TIMER = 42

-- The timers of a contact, parsed at first use: entries {id, rule, key, raw}, in order.
local function timers_of(out, contact)
  local held = out.timers[contact]
  if held then return held end
  held = {}
  local raw, at = redis.call('HGET', out.timers_key, contact) or '', 1
  while at <= #raw do
    local size = TIMER + unpack_('<I4', raw, at + 38)
    held[#held + 1] = sub(raw, at, at + size - 1)
    at = at + size
  end
  out.timers[contact] = held
  return held
end

local function find_timer(held, id)
  for i, raw in ipairs(held) do
    if sub(raw, 1, 8) == id then return i end
  end
  return nil
end

local function drop_timer(out, contact, held, i)
  local member = contact .. sub(held[i], 1, 8)
  out.timers_gone[#out.timers_gone + 1] = member
  out.timers_set[member] = nil
  out.timers_dirty[contact] = true
  table.remove(held, i)
end

-- Sets the timer whose head of 38 bytes stands at `at`, or moves it, unless its event is older.
local function set_timer(out, contact, head, at, body)
  local held = timers_of(out, contact)
  local id = sub(head, at, at + 7)
  local i = find_timer(held, id)
  if i and unpack_('<I6', held[i], 27) > unpack_('<I6', head, at + 26) then return end
  local raw = sub(head, at, at + 37) .. pack('<I4', #body) .. body
  held[i or #held + 1] = raw
  out.timers_dirty[contact] = true
  out.timers_set[contact .. id] = unpack_('<I6', head, at + 20)
  out.timers_gained = true
end

-- Drops what is too many, the first set first.
local function keep_newest_timers(out, contact)
  local held = timers_of(out, contact)
  while #held > CONTACT_TIMERS_MAX do drop_timer(out, contact, held, 1) end
end

-- Forgets the timers under these rules (4 bytes each) that watch `key`, or, without one, all whose event
-- is not newer than `time`; of one channel, or, with 0, of all.
local function stop_timers(out, contact, key, numbers, channel, time)
  local held = timers_of(out, contact)
  for i = #held, 1, -1 do
    local is_meant = sub(held[i], 13, 20) == key
    if key == NO_KEY then is_meant = unpack_('<I6', held[i], 27) <= time end
    local high, low = byte(held[i], 7, 8)
    is_meant = is_meant and (channel == 0 or high * 256 + low == channel)
    if is_meant and find_entry(numbers, 4, 0, sub(held[i], 9, 12)) then
      drop_timer(out, contact, held, i)
    end
  end
end

-- Writes what has changed; true if a timer was set.
local function write_timers(out, due_key)
  for contact in pairs(out.timers_dirty) do
    local held = out.timers[contact]
    if #held == 0 then
      redis.call('HDEL', out.timers_key, contact)
    else
      redis.call('HSET', out.timers_key, contact, table.concat(held))
    end
  end
  call_in_pieces('ZREM', due_key, out.timers_gone)
  local zadd = {}
  for member, due in pairs(out.timers_set) do
    zadd[#zadd + 1] = due
    zadd[#zadd + 1] = member
  end
  call_in_pieces('ZADD', due_key, zadd)
  return out.timers_gained
end
