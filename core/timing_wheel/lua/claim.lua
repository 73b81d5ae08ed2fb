#!lua flags=
-- Purpose: the gate (R12). Decide on due entries and take those that pass; the last step before
--   the hand-over. Expiry, suppressions, consent and caps are read and reserved here and nowhere else.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] bodies hash         KEYS[5] claims hash       KEYS[6] claim-deadlines zset
-- KEYS[7] deferred zset       KEYS[8] notes hash        KEYS[9] outcomes string of today
-- KEYS[10] parked zset
-- KEYS[11...] lanes that the items come from, named by index from 0
-- ARGV[1] now, epoch ms (business clock)
-- ARGV[2] owner epoch         ARGV[3] owner nonce 8     ARGV[4] claim token 16
-- ARGV[5] lease deadline, ms (lease clock)              ARGV[6] registry revision of the caller
-- ARGV[7] lease clock now, ms ARGV[8] greatest skew to this server's clock, ms; 0: not checked
-- ARGV[9] number of items, <= 128
-- ARGV[10] items, 29 bytes each: member 16, lane index B, action B, flags B, state B,
--   reason B, wait B, cap set B, due I6; flags: 1 needs_consent, 2 heeds_suppression, 4 forwards_data,
--   8 fell_back
-- ARGV[11...] cap sets, 19 bytes a cap: ledger 4, limit H, window I6, flags B, longest deferral I6
-- Returns: {0, answers} with 10 bytes an item (code B, state B, reason B, attempts B, due I6), or
--   {1} another owner, {2} registry too old, {3} clocks too far apart: nothing was changed
-- Atomicity: all items or none. The same token gives the first answer again.
-- Cost: O(items + stamps and references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include ../../antispam/lua/caps
-- @bound INVITATION_NOTES_MAX
local CLAIMED, GONE, ENDED, DEFERRED, NOT_DUE, PARKED, LOOK_AGAIN = 0, 1, 2, 3, 4, 5, 6
local CAPPED, REPLACED, CAPPED_WAIT, NO_SLOT, TOO_LATE = 5, 6, 1, 64, 65
local FLAG_FELL_BACK = 16
local GATE, END, DEFER, PARK, FROZEN_WAIT = 0, 1, 2, 3, 5
local ITEM, NOTE = 29, 17
local now_ms, items, count_items = tonumber(ARGV[1]), ARGV[10], tonumber(ARGV[9])
local token = ARGV[4]

local owner = redis.call('HMGET', KEYS[1], 'epoch', 'nonce', 'registry_revision')
if owner[1] ~= ARGV[2] or owner[2] ~= ARGV[3] then return {1} end
-- What was claimed is claimed, also if the registry has moved on while the answer was lost.
local before = redis.call('HGET', KEYS[5], token)
if before then
  local members = unpack_('<H', before, 7)
  return {0, sub(before, 9 + members * 16)}
end
if tonumber(owner[3] or 0) > tonumber(ARGV[6]) then return {2} end
local skew = tonumber(ARGV[8])
if skew > 0 then
  local time = redis.call('TIME')
  local server_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if math.abs(server_ms - tonumber(ARGV[7])) > skew then return {3} end
end

local out = {lines = {}, bodies = {}}
local removed, deferred, parked, notes, taken, cap_sets = {}, {}, {}, {}, {}, {}

local token8 = sub(token, 1, 8)
local taken_count = 0

local function move(rec, at, member, due, wait)
  local refs = rec.refs
  rec.refs = sub(refs, 1, at + 7) .. char(wait) .. sub(refs, at + 9, at + 19)
    .. pack('<I6', due) .. sub(refs, at + 26)
  rec.dirty = true
  deferred[#deferred + 1] = due
  deferred[#deferred + 1] = member
end

-- Ledgers of the notes written in this call, by member: the hash has them only at the end.
local noted = {}
local function note(member, until_ms, ledger, code)
  notes[#notes + 1] = {member, pack('<I6I6', now_ms, until_ms) .. ledger .. char(code)}
  noted[member] = ledger
end

-- Expiry, suppressions and consent. Returns the state and reason in which the entry has ended, or nil.
local function refused(rec, contact, at, member, flags, expire)
  if now_ms >= expire then
    end_ref(rec, contact, at, EXPIRED, TOO_LATE, now_ms, out, member)
    return EXPIRED, TOO_LATE
  end
  local medium, purpose = byte(rec.refs, at + 10, at + 11)
  local why = consent_refusal(rec.consents, rec.refs, at + 14, at + 48, purpose, medium, now_ms,
    flags % 4 >= 2, flags % 2 == 1)
  if why == 0 then return nil end
  end_ref(rec, contact, at, SKIPPED, why, now_ms, out, member)
  return SKIPPED, why
end

-- Of this entry and those that wait for the same cap, the ledger of their last note, all but the best end
-- (R28). True if this one is the best.
local function is_best(rec, contact, at, ledger)
  local rivals, best, best_priority = {}, at, byte(rec.refs, at + 70)
  for one = 1, #rec.refs, REF do
    if one ~= at and byte(rec.refs, one + 6) == SCHEDULED and byte(rec.refs, one + 8) == CAPPED_WAIT then
      local member = member_of(contact, (unpack_('<I6', rec.refs, one)),
        (unpack_('<H', rec.refs, one + 14)))
      local last = noted[member] or sub(redis.call('HGET', KEYS[8], member) or '', -5, -2)
      if last == ledger then
        rivals[#rivals + 1] = {one, member}
        local priority = byte(rec.refs, one + 70)
        -- References stand in ascending sequence: of equal priority the later one is newer.
        if priority > best_priority or (priority == best_priority and one > best) then
          best, best_priority = one, priority
        end
      end
    end
  end
  for _, rival in ipairs(rivals) do
    if rival[1] ~= best then
      end_ref(rec, contact, rival[1], SKIPPED, REPLACED, now_ms, out, rival[2])
    end
  end
  return best == at
end

-- What full caps say of an entry. Returns code, state, reason, due.
local function capped(rec, contact, at, member, verdict, until_ms, ledger, replaces, due)
  local state, why, code = SKIPPED, CAPPED, 2
  if verdict == 'expire' then
    state, why, code = EXPIRED, NO_SLOT, 1
  elseif verdict == 'defer' then
    if not replaces or is_best(rec, contact, at, ledger) then
      note(member, until_ms, ledger, 1)
      move(rec, at, member, until_ms, CAPPED_WAIT)
      return DEFERRED, SCHEDULED, 0, until_ms
    end
    why, code = REPLACED, 3
  end
  note(member, until_ms, ledger, code)
  end_ref(rec, contact, at, state, why, now_ms, out, member)
  return ENDED, state, why, due
end

-- Decides on a waiting, due entry that nothing else holds back. Returns code, state, reason, due.
local function gate(rec, contact, at, member, flags, set, due, expire)
  local to, reason = refused(rec, contact, at, member, flags, expire)
  if to then return ENDED, to, reason, due end
  local refs = rec.refs
  local step, medium, purpose, attempts, marks = byte(refs, at + 9, at + 13)
  local caps = cap_sets[set]
  if not caps then
    caps = parse_caps(ARGV[11 + set])
    cap_sets[set] = caps
  end
  if flags % 8 >= 4 and not may_forward(rec, at, now_ms) then return LOOK_AGAIN, SCHEDULED, 0, due end
  if #caps > 0 then
    local order_key = sub(refs, at + 48, at + 55)
    local tag = '\0\0' .. sub(member, 9, 14)
    local verdict, until_ms, ledger, replaces =
      caps_check(rec.stamps, caps, tag, order_key, now_ms, expire)
    if verdict == 'look' then return LOOK_AGAIN, SCHEDULED, 0, due end
    if verdict ~= 'pass' then
      return capped(rec, contact, at, member, verdict, until_ms, ledger, replaces, due)
    end
    rec.stamps = caps_reserve(rec.stamps, caps, tag, order_key, now_ms)
  end
  if attempts < 255 then attempts = attempts + 1 end
  if flags >= 8 and marks % (2 * FLAG_FELL_BACK) < FLAG_FELL_BACK then marks = marks + FLAG_FELL_BACK end
  -- The bytes that stay are written again: one call instead of cutting them out.
  rec.refs = sub(refs, 1, at + 5) .. char(IN_FLIGHT, 0, 0, step, medium, purpose, attempts, marks)
    .. sub(refs, at + 14, at + 31) .. token8 .. sub(refs, at + 40)
  rec.dirty = true
  taken_count = taken_count + 1
  taken[taken_count] = member
  return CLAIMED, IN_FLIGHT, 0, due, attempts
end

local function decide(rec, contact, member, item, action, flags, state, reason, wait, set)
  local at = rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= SCHEDULED then return GONE, 0, 0, 0, 0 end
  local due, expire = unpack_('<I6I6', rec.refs, at + 20)
  if due > now_ms then return NOT_DUE, SCHEDULED, 0, due, 0 end
  local code, attempts
  if action == DEFER or (action == END and flags % 2 == 1) then
    -- For a reason that comes after expiry, suppressions and consent (R10).
    local to, why = refused(rec, contact, at, member, flags, expire)
    if to then return ENDED, to, why, due, byte(rec.refs, at + 12) end
  end
  if action == END then
    end_ref(rec, contact, at, state, reason, now_ms, out, member)
    code = ENDED
  elseif action == PARK and now_ms < expire then
    rec.refs = sub(rec.refs, 1, at + 7) .. char(wait > 0 and wait or FROZEN_WAIT) .. sub(rec.refs, at + 9)
    rec.dirty = true
    parked[#parked + 1] = expire
    parked[#parked + 1] = member
    state, reason, code = SCHEDULED, 0, PARKED
  elseif action == DEFER then
    due = unpack_('<I6', items, item + 23)
    if due >= expire then
      state, reason, code = EXPIRED, NO_SLOT, ENDED
      end_ref(rec, contact, at, state, reason, now_ms, out, member)
    else
      move(rec, at, member, due, wait)
      state, reason, code = SCHEDULED, 0, DEFERRED
    end
  elseif action == PARK then
    state, reason, code = EXPIRED, TOO_LATE, ENDED
    end_ref(rec, contact, at, state, reason, now_ms, out, member)
  else
    code, state, reason, due, attempts =
      gate(rec, contact, at, member, flags, set, due, expire)
  end
  return code, state, reason, due, attempts or byte(rec.refs, at + 12)
end

local contacts, members, records, n = {}, {}, {}, 0
for i = 1, count_items do
  local member = sub(items, (i - 1) * ITEM + 1, (i - 1) * ITEM + 16)
  local contact = sub(member, 1, 8)
  members[i] = member
  if records[contact] == nil then
    records[contact] = false
    n = n + 1
    contacts[n] = contact
  end
end
open_records(KEYS[3], contacts, records)
local answers = {}
for i = 1, count_items do
  local item, member = (i - 1) * ITEM + 1, members[i]
  local contact = sub(member, 1, 8)
  local lane, action, flags, to_state, to_reason, wait, set =
    byte(items, item + 16, item + 22)
  local code, state, reason, due, attempts = decide(records[contact], contact, member, item, action,
    flags, to_state, to_reason, wait, set)
  answers[i] = pack('<BBBBI6', code, state, reason, attempts, due)
  if code ~= NOT_DUE and code ~= LOOK_AGAIN then
    local list = removed[lane]
    if not list then
      list = {}
      removed[lane] = list
    end
    list[#list + 1] = member
  end
end
count('scheduled', -taken_count)
count('in_flight', taken_count)
local answer = table.concat(answers)

write_records(KEYS[3], records)
for lane, members in pairs(removed) do redis.call('ZREM', KEYS[11 + lane], unpack(members)) end
if #deferred > 0 then
  redis.call('ZADD', KEYS[7], unpack(deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
if #parked > 0 then
  redis.call('ZADD', KEYS[10], unpack(parked))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
for _, entry in ipairs(notes) do
  local old = redis.call('HGET', KEYS[8], entry[1]) or ''
  redis.call('HSET', KEYS[8], entry[1], sub(old .. entry[2], -NOTE * INVITATION_NOTES_MAX))
end
redis.call('HSET', KEYS[5], token,
  pack('<I6H', tonumber(ARGV[5]), #taken) .. table.concat(taken) .. answer)
redis.call('ZADD', KEYS[6], ARGV[5], token)
write_ends(KEYS[4], KEYS[9], out)
write_counts(KEYS[2])
return {0, answer}
