#!lua flags=
-- Purpose: second look at claims that waited before their hand-over (E4): suppressions and consent once
--   more, and whether an event has ended it in flight. Then it ends, and its reservations are returned.
--   Without consent to forward data it waits again, due as before: what it says is not right any more.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] bodies hash         KEYS[5] outcomes string of today             KEYS[6] deferred zset
-- KEYS[7] claims hash         KEYS[8] claim-deadlines zset                  KEYS[9] notes hash
-- ARGV[1] now, epoch ms       ARGV[2] claim token 16    ARGV[3] number of items, <= 128
-- ARGV[4] items, 17 bytes each: member 16, flags B as in `claim.lua`
-- Returns: one byte an item: 1 send it, 0 do not
-- Atomicity: all items or none.
-- Cost: O(items + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include release
-- @include lease
local ITEM = 17
local now_ms, token, total, items = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local out = {lines = {}, bodies = {}, deferred = {}}
local done = {}

local function look(rec, contact, member, flags)
  local at = rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= IN_FLIGHT
    or sub(rec.refs, at + 32, at + 39) ~= sub(token, 1, 8) then
    return 0
  end
  local state, why = CANCELLED, byte(rec.refs, at + 7)
  if why == 0 then
    local medium, purpose = byte(rec.refs, at + 10, at + 11)
    why = consent_refusal(rec.consents, rec.refs, at + 14, at + 48, purpose, medium, now_ms,
      flags % 4 >= 2, flags % 2 == 1)
    if why == 0 then
      if flags % 8 < 4 or may_forward(rec, at, now_ms) then return 1 end
      local due, attempts = unpack_('<I6', rec.refs, at + 20), byte(rec.refs, at + 12)
      put_back(rec, at, member, due, 0, math.max(attempts - 1, 0), '', out)
      release_caps(rec, contact, at, member, now_ms, KEYS[9], out)
      done[member] = true
      return 0
    end
    state = SKIPPED
  end
  end_ref(rec, contact, at, state, why, now_ms, out, member)
  release_caps(rec, contact, at, member, now_ms, KEYS[9], out)
  done[member] = true
  return 0
end

local members = {}
for i = 0, total - 1 do members[i + 1] = sub(items, i * ITEM + 1, i * ITEM + 16) end
local records = open_contacts(KEYS[3], members)
local answers = {}
for i, member in ipairs(members) do
  local contact = sub(member, 1, 8)
  answers[i] = char(look(records[contact], contact, member, byte(items, i * ITEM)))
end
write_records(KEYS[3], records)
write_ends(KEYS[4], KEYS[5], out)
if #out.deferred > 0 then
  redis.call('ZADD', KEYS[6], unpack(out.deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
if next(done) then
  leave_lease(KEYS[7], KEYS[8], token, redis.call('HGET', KEYS[7], token), done)
end
write_counts(KEYS[2])
return table.concat(answers)
