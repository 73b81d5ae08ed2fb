#!lua flags=
-- Purpose: record how claimed entries went: outcome, reservations, next steps. Fenced by the claim
--   token, not by the owner's epoch (E2): knowledge of a send is taken from anyone who holds it.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] slots zset
-- KEYS[7] near zset           KEYS[8] outcomes string of today
-- KEYS[9] claims hash         KEYS[10] claim-deadlines zset                KEYS[11] deferred zset
-- KEYS[12...] slot zsets, in the order that plans name by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] slot width, ms    ARGV[3] claim token 16
-- ARGV[4] number of settlements, <= 128
-- ARGV[5] settlements, 26 bytes each: member 16, state B, reason B, due I6, releases B, plans B
-- ARGV[6...] (plan, detail) for each plan, in the order of the settlements
-- Returns: one string; for each settlement: is_settled B, plans B, woken B, 17 bytes a plan (as
--   commit), 22 bytes a woken entry (member 16, due I6)
-- Atomicity: all or nothing. An entry that was reclaimed meanwhile answers is_settled 0.
-- Cost: O(settlements + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include birth
-- @include release
local ITEM = 26
local RETRY_WAIT = 2
local now_ms, width, token, total = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local items = ARGV[5]
local loaded = tonumber(redis.call('HGET', KEYS[1], 'loaded_until') or 0)
local lease = redis.call('HGET', KEYS[9], token)
local out = {near = {}, slots = {}, details = {}, lines = {}, bodies = {}, deferred = {}}
local done = {}

local function births(rec, contact, at, plans, arg)
  local event_key = sub(rec.refs, at + 40, at + 47)
  local body = unpack_('<I6', rec.refs, at + 64)
  local parts = {}
  for i = 1, plans do
    parts[i] = give_birth(rec, contact, ARGV[arg], ARGV[arg + 1], body, event_key, now_ms, loaded,
      out, false)
    arg = arg + 2
  end
  return table.concat(parts)
end

local function settle(rec, contact, member, item, arg)
  local state, reason = byte(items, item + 16, item + 17)
  local releases, plans = byte(items, item + 24, item + 25)
  local at = lease and rec and find_ref(rec, (unpack_('>I6', member, 9)))
  if not at or byte(rec.refs, at + 6) ~= IN_FLIGHT
    or sub(rec.refs, at + 32, at + 39) ~= sub(token, 1, 8) then
    return '\0\0\0'
  end
  done[member] = true
  local born = births(rec, contact, at, plans, arg)
  if state == SCHEDULED then
    local due = unpack_('<I6', items, item + 18)
    local refs = rec.refs
    rec.refs = sub(refs, 1, at + 5) .. char(SCHEDULED, reason, RETRY_WAIT)
      .. sub(refs, at + 9, at + 19) .. pack('<I6', due) .. sub(refs, at + 26, at + 31) .. NO_KEY
      .. sub(refs, at + 40)
    rec.dirty = true
    count('in_flight', -1)
    count('scheduled', 1)
    out.deferred[#out.deferred + 1] = due
    out.deferred[#out.deferred + 1] = member
  else
    end_ref(rec, contact, at, state, reason, now_ms, out)
  end
  local woken = ''
  if releases == 1 then woken = release_caps(rec, contact, at, member, now_ms, out) end
  return char(1, plans, #woken / 22) .. born .. woken
end

local contacts, wanted = {}, {}
for i = 0, total - 1 do
  local contact = sub(items, i * ITEM + 1, i * ITEM + 8)
  if not wanted[contact] then
    wanted[contact] = true
    contacts[#contacts + 1] = contact
  end
end
local records = open_records(KEYS[3], contacts)
local answers, arg = {}, 6
for i = 0, total - 1 do
  local item = i * ITEM + 1
  local member = sub(items, item, item + 15)
  local contact = sub(member, 1, 8)
  answers[i + 1] = settle(records[contact], contact, member, item, arg)
  arg = arg + 2 * byte(items, item + 25)
end

write_records(KEYS[3], records)
write_births(out, KEYS[4], KEYS[6], KEYS[7], KEYS[1], 12, width)
write_ends(KEYS[5], KEYS[8], out)
if #out.deferred > 0 then
  redis.call('ZADD', KEYS[11], unpack(out.deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
if lease then
  local members = unpack_('<H', lease, 7)
  local rest = {}
  for i = 0, members - 1 do
    local member = sub(lease, 9 + i * 16, 24 + i * 16)
    if not done[member] then rest[#rest + 1] = member end
  end
  if #rest == 0 then
    redis.call('HDEL', KEYS[9], token)
    redis.call('ZREM', KEYS[10], token)
  elseif #rest < members then
    redis.call('HSET', KEYS[9], token, sub(lease, 1, 6) .. pack('<H', #rest)
      .. table.concat(rest) .. sub(lease, 9 + members * 16))
  end
end
write_counts(KEYS[2])
return table.concat(answers)
