#!lua flags=
-- Purpose: record how claimed entries went: outcome, reservations, next steps. Fenced by the claim
--   token, not by the owner's epoch (E2): knowledge of a send is taken from anyone who holds it. What
--   was heard in flight is not undone by it (R48).
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] slots zset
-- KEYS[7] near zset           KEYS[8] outcomes string of today
-- KEYS[9] claims hash         KEYS[10] claim-deadlines zset                KEYS[11] deferred zset
-- KEYS[12] traffic hash of today                      KEYS[13] notes hash
-- KEYS[14...] slot zsets, in the order that plans name by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] slot width, ms    ARGV[3] claim token 16
-- ARGV[4] number of settlements, <= 128
-- ARGV[5] settlements: member 16, state B, reason B, flags B (1 releases
--   reservations, 2 was not tried), plans B, due I6, content revision H,
--   template mark B, then its plans as `birth.lua` draws them, without event key
-- ARGV[6...] detail for each plan, in the order of the settlements
-- Returns: one string; for each settlement: is_settled B, plans B, woken B, 17 bytes a plan (as
--   commit), 22 bytes a woken entry (member 16, due I6)
-- Atomicity: all or nothing. An entry that was reclaimed meanwhile answers is_settled 0.
-- Cost: O(settlements + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include birth
-- @include release
-- @include lease
-- @include heard
local ITEM = 29
local UNTRIED, ERASED = 2, 44
local now_ms, width, token, total = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local items = ARGV[5]
local token8 = sub(token, 1, 8)
local lease = redis.call('HGET', KEYS[9], token)
local out = {
  near = {}, slots = {}, details = {}, lines = {}, bodies = {}, deferred = {},
  loaded = loaded_until(KEYS[1]),
}
local done = {}

-- The references of the next steps. All but the last are added here, because the next one must see
-- them; the last is returned, to be added when the settled one is written. Second: does one wait?
-- What was ended in flight, for the reason `stopped`, has no next step.
local function births(rec, contact, at, plans, p, arg, answers, stopped)
  local event_key, body = sub(rec.refs, at + 40, at + 47), sub(rec.refs, at + 64, at + 69)
  local ref, state
  local raw, waits = items, false
  for i = 0, plans - 1 do
    if ref then rec.refs = rec.refs .. ref end
    if stopped ~= 0 then raw = sub(items, 1, p + 57) .. char(CANCELLED, stopped) .. sub(items, p + 60) end
    ref, state = give_birth(rec, contact, raw, p, ARGV[arg + i], body, event_key, now_ms, out,
      answers, false)
    waits = waits or state == SCHEDULED
    p = p + PLAN + STOP_WIDTH * byte(items, p + PLAN - 1)
  end
  return ref, waits
end

local function settle(rec, contact, member, item, state, reason, flags, plans, arg, answers)
  local at = lease and rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= IN_FLIGHT or sub(rec.refs, at + 32, at + 39) ~= token8 then
    answers[#answers + 1] = '\0\0\0'
    return
  end
  done[member] = true
  local place, born, waits = #answers + 1, '', false
  local stopped = byte(rec.refs, at + 7)
  answers[place] = ''
  if stopped == ERASED then plans = 0 end -- a plan tells of the contact (R22)
  if plans > 0 then
    born, waits = births(rec, contact, at, plans, item + ITEM, arg, answers, stopped)
  end
  if (state == SCHEDULED or state == FAILED) and stopped ~= 0 then state, reason = CANCELLED, stopped end
  if state == SCHEDULED then
    local due = unpack_('<I6', items, item + 20)
    local attempts = byte(rec.refs, at + 12)
    if flags >= UNTRIED and attempts > 0 then attempts = attempts - 1 end
    put_back(rec, at, member, due, reason, attempts, born, out)
  else
    local content = sub(items, item + 26, item + 27)
    local template = byte(items, item + 28)
    end_ref(rec, contact, at, state, reason, now_ms, out, member, born, waits, content, template)
    catch_up(rec, contact, at, member, KEYS[13], now_ms, out)
  end
  local woken = ''
  if flags % 2 == 1 then
    woken = release_caps(rec, contact, at, member, now_ms, KEYS[13], out)
    answers[#answers + 1] = woken
  end
  answers[place] = char(1, plans, #woken / 22)
end

local contacts, records, places, n, item = {}, {}, {}, 0, 1
for i = 1, total do
  local contact = sub(items, item, item + 7)
  if records[contact] == nil then
    records[contact] = false
    n = n + 1
    contacts[n] = contact
  end
  places[i] = item
  local plans = byte(items, item + 19)
  item = item + ITEM
  for _ = 1, plans do item = item + PLAN + STOP_WIDTH * byte(items, item + PLAN - 1) end
end
open_records(KEYS[3], contacts, records)
local answers, arg = {}, 6
for i = 1, total do
  item = places[i]
  local member = sub(items, item, item + 15)
  local contact = sub(member, 1, 8)
  local state, reason, flags, plans = byte(items, item + 16, item + 19)
  settle(records[contact], contact, member, item, state, reason, flags, plans, arg, answers)
  arg = arg + plans
end

write_records(KEYS[3], records)
write_births(out, KEYS[4], KEYS[6], KEYS[7], KEYS[1], 14, width)
write_ends(KEYS[5], KEYS[8], out)
if #out.deferred > 0 then
  redis.call('ZADD', KEYS[11], unpack(out.deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
if lease and next(done) then leave_lease(KEYS[9], KEYS[10], token, lease, done) end
write_traffic(KEYS[12])
write_counts(KEYS[2])
return table.concat(answers)
