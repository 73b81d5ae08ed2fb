#!lua flags=
-- Purpose: apply a batch of events to their contacts: evidence, stops, tombstone, plans.
--   Once per (contact, event key); a repetition changes nothing and answers as the first time.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] slots zset
-- KEYS[7] near zset           KEYS[8] outcomes string of today
-- KEYS[9...] slot zsets, in the order that plans name by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] slot width, ms    ARGV[3] number of commits, <= 128
-- ARGV[4...] for each commit: head, body, then (plan, detail) for each plan. Head:
--   event key 8, contact key 8, disposition B, is_primary B, event time I6, tombstone order 8,
--   tombstone type H, consents B, stops B, plans B; consents 18 each; stops: order key 8,
--   reason B, rules H, rule numbers I4 each
-- Returns: one string; for each commit: is_duplicate B, disposition B, plans B, stopped H,
--   then 17 bytes a plan (sequence I6, state B, reason B, due I6, lane B, channel H), then
--   sequence I6 of each invitation that was stopped
-- Atomicity: everything about the contacts of one partition, or nothing. No error after a write.
-- Cost: O(commits + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include birth
local now_ms, width, commits = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local loaded = tonumber(redis.call('HGET', KEYS[1], 'loaded_until') or 0)

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

local function add_tombstone(rec, head, event_time)
  local order_key, kind = sub(head, 25, 32), sub(head, 33, 34)
  if kind == '\0\0' or order_key == NO_KEY then return end
  if not find_entry(rec.tombstones, TOMBSTONE, 0, order_key .. kind) then
    rec.tombstones = rec.tombstones .. order_key .. kind .. pack('<I6', event_time)
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
    parts[#parts + 1] = pack('<I6BBI6BH', sequence, state, reason, due, FAR, channel)
    plans = plans + 1
    ref = find_entry(rec.refs, REF, 40, event_key, ref + REF)
  end
  return char(1, byte(rec.events, seen + 8), plans) .. '\0\0' .. table.concat(parts)
end

local function apply(rec, contact, head, body, arg, out)
  local event_key = sub(head, 1, 8)
  local disposition, primary, event_time = unpack_('<BBI6', head, 17)
  local consents, stops, plans = byte(head, 35, 37)
  local seen = find_entry(rec.events, SEEN, 0, event_key)
  if seen then
    if primary == 1 then count('e:4', 1) end
    return answer_again(rec, event_key, seen), arg + 2 * plans
  end
  local at = 38
  for _ = 1, consents do
    rec.consents = consent_merge(rec.consents, sub(head, at, at + CONSENT - 1))
    at = at + CONSENT
  end
  local stopped = {}
  for _ = 1, stops do at = stop_refs(rec, contact, head, at, out, stopped) end
  add_tombstone(rec, head, event_time)
  rec.events = rec.events .. pack('<c8BI6', event_key, disposition, now_ms)
  rec.dirty = true
  local parts, first, waits = {}, rec.next, false
  for i = 1, plans do
    local state
    parts[i], state = give_birth(rec, contact, ARGV[arg], ARGV[arg + 1], first, event_key, now_ms,
      loaded, out, true)
    waits = waits or state == SCHEDULED
    arg = arg + 2
  end
  if waits then
    out.kept[#out.kept + 1] = contact .. pack('>I6', first)
    out.kept[#out.kept + 1] = body
  end
  if primary == 1 then count('e:' .. disposition, 1) end
  return pack('<BBBH', 0, disposition, plans, #stopped) .. table.concat(parts)
    .. table.concat(stopped), arg
end

local arg, contacts, wanted = 4, {}, {}
for _ = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 9, 16)
  if not wanted[contact] then
    wanted[contact] = true
    contacts[#contacts + 1] = contact
  end
  arg = arg + 2 + 2 * byte(head, 37)
end
local records = open_records(KEYS[3], contacts)
local out = {near = {}, slots = {}, details = {}, lines = {}, bodies = {}, kept = {}}
local answers = {}
arg = 4
for i = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 9, 16)
  local rec = records[contact]
  if not rec then
    rec = new_record()
    records[contact] = rec
  end
  answers[i], arg = apply(rec, contact, head, ARGV[arg + 1], arg + 2, out)
end
write_records(KEYS[3], records)
write_births(out, KEYS[4], KEYS[6], KEYS[7], KEYS[1], 9, width)
if #out.kept > 0 then redis.call('HSET', KEYS[5], unpack(out.kept)) end
write_ends(KEYS[5], KEYS[8], out)
write_counts(KEYS[2])
return table.concat(answers)
