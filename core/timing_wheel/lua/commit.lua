#!lua flags=
-- Purpose: apply a batch of events to their contacts: evidence, stops, tombstone, plans.
--   Once per (contact, event key); a repetition changes nothing and answers as the first time.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] slots zset
-- KEYS[7] near zset           KEYS[8] outcomes string of today
-- KEYS[9...] slot zsets, in the order that plans name by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] slot width, ms    ARGV[3] number of commits, <= 128
-- ARGV[4...] for each commit: head, body, then detail for each plan. Head:
--   contact key 8, event key 8, disposition B, is_primary B, event time I6, tombstone order 8,
--   tombstone type H, consents B, stops B, plans B; consents 18 each; stops: order key 8,
--   reason B, rules H, rule numbers I4 each; plans as `birth.lua` draws them
-- Returns: one string; for each commit: is_duplicate B, disposition B, plans B, stopped H,
--   then 17 bytes a plan (sequence I6, state B, reason B, lane B, due I6, channel H), then
--   sequence I6 of each invitation that was stopped
-- Atomicity: everything about the contacts of one partition, or nothing. No error after a write.
-- Cost: O(commits + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include birth
local now_ms, width, commits = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now6 = six(now_ms)
local dispositions = {}

local function stop_refs(rec, contact, head, at, out, stopped)
  local order_key = sub(head, at, at + 7)
  local reason, rules = unpack_('<BH', head, at + 8)
  local first = at + 11
  local last = first + rules * 4 - 1
  local numbers = sub(head, first, last)
  local ref = find_entry(rec.refs, REF, 48, order_key)
  while ref do
    if byte(rec.refs, ref + 6) == SCHEDULED
      and find_entry(numbers, 4, 0, sub(rec.refs, ref + 16, ref + 19)) then
      stopped[#stopped + 1] = sub(rec.refs, ref, ref + 5)
      end_ref(rec, contact, ref, CANCELLED, reason, now_ms, out)
    end
    ref = find_entry(rec.refs, REF, 48, order_key, ref + REF)
  end
  return last + 1
end

local function add_tombstone(rec, head)
  local entry = sub(head, 25, 34)
  if sub(entry, 1, 8) == NO_KEY then return end
  if not find_entry(rec.tombstones, TOMBSTONE, 0, entry) then
    rec.tombstones = rec.tombstones .. entry .. sub(head, 19, 24)
  end
end

-- What the first time has caused, in its present state.
local function answer_again(rec, event_key, seen)
  local parts, plans = {}, 0
  local ref = find_entry(rec.refs, REF, 40, event_key)
  while ref do
    local sequence, state, reason = unpack_('<I6BB', rec.refs, ref)
    local channel = unpack_('<H', rec.refs, ref + 14)
    local due = unpack_('<I6', rec.refs, ref + 20)
    parts[#parts + 1] = pack('<I6BBBI6H', sequence, state, reason, FAR, due, channel)
    plans = plans + 1
    ref = find_entry(rec.refs, REF, 40, event_key, ref + REF)
  end
  return char(1, byte(rec.events, seen + 8), plans) .. '\0\0' .. table.concat(parts)
end

local function apply(rec, contact, head, body, arg, out, answers)
  local disposition, primary = byte(head, 17, 18)
  local kind_low, kind_high, consents, stops, plans = byte(head, 33, 37)
  local seen = rec.events ~= '' and find_entry(rec.events, SEEN, 0, sub(head, 9, 16))
  if seen then
    if primary == 1 then count('e:4', 1) end
    answers[#answers + 1] = answer_again(rec, sub(head, 9, 16), seen)
    return
  end
  local at, stopped, stopped_count = 38, nil, 0
  for _ = 1, consents do
    local entry = sub(head, at, at + CONSENT - 1)
    rec.consents = rec.consents == '' and entry or consent_merge(rec.consents, entry)
    at = at + CONSENT
  end
  if stops > 0 then
    stopped = {}
    for _ = 1, stops do at = stop_refs(rec, contact, head, at, out, stopped) end
    stopped_count = #stopped
  end
  if kind_low + kind_high > 0 then add_tombstone(rec, head) end
  rec.events = rec.events .. sub(head, 9, 17) .. now6
  rec.dirty = true
  answers[#answers + 1] =
    char(0, disposition, plans, stopped_count % 256, math.floor(stopped_count / 256))
  if plans > 0 then
    local first, waits = six(rec.next), false
    for i = 0, plans - 1 do
      local ref, state = give_birth(rec, contact, head, at, ARGV[arg + i], first, nil, now_ms, out,
        answers, true)
      rec.refs = rec.refs .. ref
      waits = waits or state == SCHEDULED
      at = at + PLAN + STOP_WIDTH * byte(head, at + PLAN - 1)
    end
    if waits then
      local kept = out.kept
      local n = #kept
      kept[n + 1] = contact .. reverse(first)
      kept[n + 2] = body
    end
  end
  if stopped then answers[#answers + 1] = table.concat(stopped) end
  if primary == 1 then dispositions[disposition] = (dispositions[disposition] or 0) + 1 end
end

local arg, contacts, records, n = 4, {}, {}, 0
for _ = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 1, 8)
  if records[contact] == nil then
    records[contact] = false
    n = n + 1
    contacts[n] = contact
  end
  arg = arg + 2 + byte(head, 37)
end
open_records(KEYS[3], contacts, records)
local out = {
  near = {}, slots = {}, details = {}, lines = {}, bodies = {}, kept = {},
  loaded = loaded_until(KEYS[1]),
}
local answers = {}
arg = 4
for _ = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 1, 8)
  local rec = records[contact]
  if not rec then
    rec = new_record()
    records[contact] = rec
  end
  apply(rec, contact, head, ARGV[arg + 1], arg + 2, out, answers)
  arg = arg + 2 + byte(head, 37)
end
for disposition, times in pairs(dispositions) do count('e:' .. disposition, times) end
write_records(KEYS[3], records)
write_births(out, KEYS[4], KEYS[6], KEYS[7], KEYS[1], 9, width)
if #out.kept > 0 then redis.call('HSET', KEYS[5], unpack(out.kept)) end
write_ends(KEYS[5], KEYS[8], out)
write_counts(KEYS[2])
return table.concat(answers)
