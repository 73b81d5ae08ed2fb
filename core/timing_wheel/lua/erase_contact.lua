#!lua flags=
-- Purpose: forget a contact (R22); the twin of `core/timing_wheel/memory_erasure.py`, which says what
--   stays behind.
-- KEYS[1] counters hash       KEYS[2] contacts hash     KEYS[3] details hash
-- KEYS[4] bodies hash         KEYS[5] outcomes string of today
-- KEYS[6] timers hash         KEYS[7] timer-dues zset   KEYS[8] consents hash
-- KEYS[9] notes hash          KEYS[10] near zset        KEYS[11] deferred zset
-- KEYS[12] parked zset        KEYS[13] erasures hash
-- KEYS[14...] slot zsets in which something of the contact may wait
-- ARGV[1] now, epoch ms       ARGV[2] contact key 8     ARGV[3] slot width, ms
-- ARGV[4...] numbers of the slots
-- Returns: one string: events I4, orders I4, cancelled I4, in flight I4, then keys 8 and members 16 each
-- Atomicity: all or nothing. Index entries of a slot that was not named stay; the claim that meets one
--   drops it.
-- Cost: O(all that is held of the contact)
-- @include record
-- @include ../../antispam/lua/consent
-- @include timers
local ERASED, ORDER_SCOPE, FIRED = 44, 2, 3
local now_ms, contact, width = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local rec = open_records(KEYS[2], {contact})[contact] or new_record()
local held_timers = timers_of({timers = {}, timers_key = KEYS[6]}, contact)
local refs = rec.refs
local slots = {}
for i = 4, #ARGV do slots[tonumber(ARGV[i])] = KEYS[10 + i] end

-- A list without repetitions and zeros.
local function new_list() return {seen = {[NO_KEY] = true}} end
local function add(list, one)
  if list.seen[one] then return end
  list.seen[one] = true
  list[#list + 1] = one
end
local function add_all(list, raw, width_of_one)
  for at = 1, #raw, width_of_one do add(list, sub(raw, at, at + width_of_one - 1)) end
end
local function add_each(list, section, entry, offset)
  for at = 1, #section, entry do add(list, sub(section, at + offset, at + offset + 7)) end
end

local events, orders, cancelled, flying = new_list(), new_list(), new_list(), {}
local before = redis.call('HGET', KEYS[13], contact)
if before then
  local e, o = unpack_('<I4I4', before)
  add_all(events, sub(before, 13, 12 + e * 8), 8)
  add_all(orders, sub(before, 13 + e * 8, 12 + (e + o) * 8), 8)
  add_all(cancelled, sub(before, 13 + (e + o) * 8), 16)
end
add_each(events, rec.events, SEEN, 0)
add_each(events, refs, REF, 40)
add_each(orders, refs, REF, 48)
add_each(orders, rec.tombstones, TOMBSTONE, 0)
for at = 1, #rec.history, HISTORY do
  if byte(rec.history, at) ~= FIRED then add(orders, sub(rec.history, at + 1, at + 8)) end
end
local kept = {}
for at = 1, #rec.consents, CONSENT do
  local scope, _, _, status = byte(rec.consents, at, at + 3)
  if scope == ORDER_SCOPE then
    add(orders, sub(rec.consents, at + 4, at + 11))
  elseif status == HARD_BOUNCE or status == BLOCK then
    kept[#kept + 1] = sub(rec.consents, at, at + CONSENT - 1)
  end
end
for purpose = 1, 2 do
  kept[#kept + 1] = char(0, purpose, 0, ERASURE) .. NO_KEY .. pack('<I6I6', now_ms, 0)
end

local members, waiting, bodies, lines, bare = {}, {}, {contact .. FACTS}, {}, {}
local by_slot = {}
for at = 1, #refs, REF do
  local member = member_of(contact, (unpack_('<I6', refs, at)), (unpack_('<H', refs, at + 14)))
  local state = byte(refs, at + 6)
  members[#members + 1] = member
  bodies[#bodies + 1] = contact .. reverse(sub(refs, at + 64, at + 69))
  if state == SCHEDULED then
    waiting[#waiting + 1] = member
    add(cancelled, member)
    lines[#lines + 1] = outcome_line(member, CANCELLED, ERASED, (unpack_('<I4', refs, at + 16)), now_ms,
      byte(refs, at + 12))
    count_end(CANCELLED, ERASED)
    local slot = slots[math.floor(unpack_('<I6', refs, at + 20) / width)]
    if slot then
      by_slot[slot] = by_slot[slot] or {}
      table.insert(by_slot[slot], member)
    end
  elseif state == IN_FLIGHT then
    flying[#flying + 1] = member
    bare[#bare + 1] = sub(refs, at, at + 5) .. char(IN_FLIGHT, ERASED) .. sub(refs, at + 8, at + 39)
      .. NO_KEY .. NO_KEY .. NO_KEY .. sub(refs, at + 64, at + 71)
  end
end
count('scheduled', -#waiting)
local dues = {}
for _, timer in ipairs(held_timers) do
  dues[#dues + 1] = contact .. sub(timer, 1, 8)
  add(orders, sub(timer, 13, 20))
end
local log = {}
for number = 1, rec.lines do log[number] = contact .. pack('>I4', number) end

call_in_pieces('HDEL', KEYS[3], members)
call_in_pieces('HDEL', KEYS[9], members)
call_in_pieces('HDEL', KEYS[4], bodies)
call_in_pieces('HDEL', KEYS[8], log)
redis.call('HDEL', KEYS[6], contact)
call_in_pieces('ZREM', KEYS[7], dues)
for lane = 10, 12 do call_in_pieces('ZREM', KEYS[lane], waiting) end
for slot, gone in pairs(by_slot) do call_in_pieces('ZREM', slot, gone) end
if #lines > 0 then redis.call('APPEND', KEYS[5], table.concat(lines)) end
local empty = new_record()
empty.next, empty.lines, empty.dirty = rec.next, rec.lines, true
empty.consents, empty.refs = table.concat(kept), table.concat(bare)
write_records(KEYS[2], {[contact] = empty})
write_counts(KEYS[1])
local todo = table.concat(events) .. table.concat(orders) .. table.concat(cancelled)
redis.call('HSET', KEYS[13], contact, pack('<I4I4I4', #events, #orders, #cancelled) .. todo)
return pack('<I4I4I4I4', #events, #orders, #cancelled, #flying) .. todo .. table.concat(flying)
