#!lua flags=
-- Purpose: note what is heard of sent messages, move them among the ended states (R6, R48), write the
--   suppressions that follow (g10); the twin of `core/timing_wheel/memory_feedback.py`.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] bodies hash         KEYS[5] outcomes string of today             KEYS[6] deferred zset
-- KEYS[7] notes hash          KEYS[8] consents hash      KEYS[9] traffic hash of today
-- ARGV[1] now, epoch ms       ARGV[2] number of feedbacks, <= 128
-- ARGV[3] feedbacks: member 16, kind B, reason B, time I6, lines B, then its lines as
--   `consent_log.lua` draws them
-- Returns: one string; for each feedback: state B, is_new B, ended H, in flight H, members 16 each
-- Atomicity: all or nothing. Each kind is heard once of a message.
-- Cost: O(feedbacks + lines * references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include ../../antispam/lua/consent_log
-- @include release
-- @include heard
-- @bound INVITATION_NOTES_MAX
local COMPLAINED, FLAG_HOLD_UNKNOWN = 4, 1
local now_ms, items = tonumber(ARGV[1]), ARGV[3]
local out = {lines = {}, bodies = {}, deferred = {}}
local notes, noted, heard = {}, {}, {}

local function is_heard(member, kind)
  local held = notes[member]
  if not held then
    held = redis.call('HGET', KEYS[7], member) or ''
    notes[member] = held
  end
  for at = NOTE, #held, NOTE do
    if byte(held, at) == NOTE_FEEDBACK + kind then return true end
  end
  return false
end

local function note(member, kind, time)
  -- The ledger of the last note says which cap it waits for: it stays the last.
  local ledger = notes[member] == '' and '\0\0\0\0' or sub(notes[member], -5, -2)
  local line = pack('<I6I6', math.min(time, now_ms), 0) .. ledger .. char(NOTE_FEEDBACK + kind)
  notes[member] = sub(notes[member] .. line, -NOTE * INVITATION_NOTES_MAX)
  noted[member] = true
end

-- Whether such a feedback can be meant for an invitation in this state. Of one that may be in flight again
-- nobody knows which attempt is meant.
local function is_fit(state, flags, kind)
  if kind == RESOLVED_SENT or kind == RESOLVED_NOT_SENT then return state == UNKNOWN end
  if state == IN_FLIGHT and flags % 2 == FLAG_HOLD_UNKNOWN then return true end
  return state >= SENT or (kind ~= HEARD_DELIVERED and kind ~= SOFT_BOUNCED)
end

local function count_heard(refs, at, kind)
  local what = kind == COMPLAINED and 'complained' or kind == HARD_BOUNCED and 'hard_bounced'
  if not what then return end
  local field = unpack_('<H', refs, at + 14) .. ':' .. byte(refs, at + 10) .. ':' .. what
  heard[field] = (heard[field] or 0) + 1
end

local function answer(state, is_new, ended, flying)
  return pack('<BBHH', state, is_new, #ended, #flying) .. table.concat(ended) .. table.concat(flying)
end

-- One feedback; its lines, of which there are `lines`, stand at `from`.
local function hear(rec, contact, member, kind, why, time, lines, from)
  local at = rec and find_ref(rec, member)
  if not at then return answer(0, 0, {}, {}) end
  local state, flags = byte(rec.refs, at + 6), byte(rec.refs, at + 13)
  if is_heard(member, kind) or not is_fit(state, flags, kind) then return answer(state, 0, {}, {}) end
  note(member, kind, time)
  count_heard(rec.refs, at, kind)
  local ended, flying = {}, {}
  mark_heard(rec, at)
  move_heard(rec, contact, at, kind, why, now_ms, out, ended)
  if kind == RESOLVED_NOT_SENT then
    release_caps(rec, contact, at, member, now_ms, KEYS[7], out)
  end
  for _ = 1, lines do
    local entry
    entry, from = add_consent_line(rec, contact, items, from, now_ms)
    end_by_consent(rec, contact, entry, now_ms, out, ended, flying)
  end
  return answer(byte(rec.refs, at + 6), 1, ended, flying)
end

local members, places, item = {}, {}, 1
for i = 1, tonumber(ARGV[2]) do
  members[i], places[i] = sub(items, item, item + 15), item
  local lines = byte(items, item + 24)
  item = item + 25
  for _ = 1, lines do item = item + CONSENT + 4 + unpack_('<I4', items, item + CONSENT) end
end
local records, answers = open_contacts(KEYS[3], members), {}
for i, member in ipairs(members) do
  local contact, place = sub(member, 1, 8), places[i]
  local kind, why = byte(items, place + 16, place + 17)
  answers[i] = hear(records[contact], contact, member, kind, why, (unpack_('<I6', items, place + 18)),
    byte(items, place + 24), place + 25)
end
write_records(KEYS[3], records)
write_consent_log(KEYS[8])
for member in pairs(noted) do redis.call('HSET', KEYS[7], member, notes[member]) end
write_ends(KEYS[4], KEYS[5], out)
if #out.deferred > 0 then
  redis.call('ZADD', KEYS[6], unpack(out.deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
for field, by in pairs(heard) do redis.call('HINCRBY', KEYS[9], field, by) end
write_traffic(KEYS[9])
write_counts(KEYS[2])
return table.concat(answers)
