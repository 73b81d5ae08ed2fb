#!lua flags=
-- Purpose: the gate (R12). Decide on due entries and take those that pass; the last step before
--   the hand-over. Expiry, consent and caps are read and reserved here and nowhere else.
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
-- ARGV[10] items, 29 bytes each: member 16, lane index B, action B, needs_consent B, state B,
--   reason B, wait B, cap set B, due I6
-- ARGV[11...] cap sets, 19 bytes a cap: ledger 4, limit H, window I6, flags B, longest deferral I6
-- Returns: {0, answers} with 10 bytes an item (code B, state B, reason B, attempts B, due I6), or
--   {1} another owner, {2} registry too old, {3} clocks too far apart: nothing was changed
-- Atomicity: all items or none. The same token gives the first answer again.
-- Cost: O(items + stamps and references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include ../../antispam/lua/caps
-- @bound INVITATION_NOTES_MAX
local CLAIMED, GONE, ENDED, DEFERRED, NOT_DUE, PARKED = 0, 1, 2, 3, 4, 5
local CAPPED, CAPPED_WAIT, NO_SLOT, TOO_LATE = 5, 1, 64, 65
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

local function note(member, until_ms, ledger, code)
  notes[#notes + 1] = {member, pack('<I6I6', now_ms, until_ms) .. ledger .. char(code)}
end

-- Consent and caps of one waiting, due entry. Returns code, state, reason, due.
local function gate(rec, contact, at, member, needs_consent, set, due, expire)
  local refs = rec.refs
  local step, medium, purpose, attempts = byte(refs, at + 9, at + 12)
  if needs_consent == 1 then
    local ok, why = consent_decide(rec.consents, refs, at + 14, at + 48, purpose, medium)
    if not ok then
      end_ref(rec, contact, at, SKIPPED, why, now_ms, out, member)
      return ENDED, SKIPPED, why, due
    end
  end
  local caps = cap_sets[set]
  if not caps then
    caps = parse_caps(ARGV[11 + set])
    cap_sets[set] = caps
  end
  if #caps > 0 then
    local order_key = sub(refs, at + 48, at + 55)
    local tag = '\0\0' .. sub(member, 9, 14)
    local verdict, until_ms, ledger =
      caps_check(rec.stamps, caps, tag, order_key, now_ms, expire)
    if verdict == 'skip' then
      note(member, 0, ledger, 2)
      end_ref(rec, contact, at, SKIPPED, CAPPED, now_ms, out, member)
      return ENDED, SKIPPED, CAPPED, due
    elseif verdict == 'expire' then
      note(member, until_ms, ledger, 1)
      end_ref(rec, contact, at, EXPIRED, NO_SLOT, now_ms, out, member)
      return ENDED, EXPIRED, NO_SLOT, due
    elseif verdict == 'defer' then
      note(member, until_ms, ledger, 1)
      move(rec, at, member, until_ms, CAPPED_WAIT)
      return DEFERRED, SCHEDULED, 0, until_ms
    end
    rec.stamps = caps_reserve(rec.stamps, caps, tag, order_key, now_ms)
  end
  if attempts < 255 then attempts = attempts + 1 end
  -- The three bytes that stay are written again: one call instead of cutting them out.
  rec.refs = sub(refs, 1, at + 5) .. char(IN_FLIGHT, 0, 0, step, medium, purpose, attempts)
    .. sub(refs, at + 13, at + 31) .. token8 .. sub(refs, at + 40)
  rec.dirty = true
  taken_count = taken_count + 1
  taken[taken_count] = member
  return CLAIMED, IN_FLIGHT, 0, due, attempts
end

-- Expiry and consent, for what ends or waits for a reason that comes after them (R10).
local function refused(rec, contact, at, member, expire)
  if now_ms >= expire then
    end_ref(rec, contact, at, EXPIRED, TOO_LATE, now_ms, out, member)
    return EXPIRED, TOO_LATE
  end
  local medium, purpose = byte(rec.refs, at + 10, at + 11)
  local ok, why = consent_decide(rec.consents, rec.refs, at + 14, at + 48, purpose, medium)
  if ok then return nil end
  end_ref(rec, contact, at, SKIPPED, why, now_ms, out, member)
  return SKIPPED, why
end

local function decide(rec, contact, member, item, action, needs_consent, state, reason, wait, set)
  local at = rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= SCHEDULED then return GONE, 0, 0, 0, 0 end
  local due, expire = unpack_('<I6I6', rec.refs, at + 20)
  if due > now_ms then return NOT_DUE, SCHEDULED, 0, due, 0 end
  local code, attempts
  if needs_consent == 1 and (action == END or action == DEFER) then
    local to, why = refused(rec, contact, at, member, expire)
    if to then return ENDED, to, why, due, byte(rec.refs, at + 12) end
  end
  if action == END then
    end_ref(rec, contact, at, state, reason, now_ms, out, member)
    code = ENDED
  elseif action == PARK and now_ms < expire then
    rec.refs = sub(rec.refs, 1, at + 7) .. char(FROZEN_WAIT) .. sub(rec.refs, at + 9)
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
  elseif now_ms >= expire then
    state, reason, code = EXPIRED, TOO_LATE, ENDED
    end_ref(rec, contact, at, state, reason, now_ms, out, member)
  else
    code, state, reason, due, attempts =
      gate(rec, contact, at, member, needs_consent, set, due, expire)
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
  local lane, action, needs_consent, to_state, to_reason, wait, set =
    byte(items, item + 16, item + 22)
  local code, state, reason, due, attempts = decide(records[contact], contact, member, item, action,
    needs_consent, to_state, to_reason, wait, set)
  answers[i] = pack('<BBBBI6', code, state, reason, attempts, due)
  if code ~= NOT_DUE then
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
