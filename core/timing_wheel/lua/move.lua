#!lua flags=
-- Purpose: give waiting entries another due time: an edit, a new zone, an operator, a thaw.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] outcomes string of today
-- KEYS[7] deferred zset       KEYS[8...] lanes that the entries come from, named by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] number of moves, <= 128
-- ARGV[3] moves, 29 bytes each: member 16, lane index B, due I6, expire I6 (0: as it is)
-- ARGV[4...] detail for each, empty: as it is
-- Returns: one byte a move: 1 it waits (or has ended for want of time), 0 it waits no more
-- Atomicity: all moves or none. Idempotent.
-- Cost: O(moves + references of their contacts)
-- @include record
local ITEM, NO_SLOT, FROZEN, COMPLAINTS = 29, 64, '\5', '\6'
local now_ms, total, items = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local out = {lines = {}, bodies = {}}
local members, removed, deferred, details, answers = {}, {}, {}, {}, {}
for i = 0, total - 1 do members[i + 1] = sub(items, i * ITEM + 1, i * ITEM + 16) end
local records = open_contacts(KEYS[3], members)

local function move(rec, member, item, detail)
  local at = rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= SCHEDULED then return 0 end
  local due, expire = unpack_('<I6I6', items, item + 17)
  if expire == 0 then expire = unpack_('<I6', rec.refs, at + 26) end
  local refs = rec.refs
  rec.dirty = true
  if detail ~= '' then
    details[#details + 1] = member
    details[#details + 1] = detail
  end
  if due >= expire then
    rec.refs = sub(refs, 1, at + 25) .. six(expire) .. sub(refs, at + 32)
    end_ref(rec, sub(member, 1, 8), at, EXPIRED, NO_SLOT, now_ms, out, member)
    return 1
  end
  -- What waits as long as before waits for the same reason; a thaw lets it go.
  local wait = sub(refs, at + 8, at + 8)
  local is_parked = wait == FROZEN or wait == COMPLAINTS
  if due ~= unpack_('<I6', refs, at + 20) or is_parked then wait = '\0' end
  rec.refs = sub(refs, 1, at + 7) .. wait .. sub(refs, at + 9, at + 19) .. six(due) .. six(expire)
    .. sub(refs, at + 32)
  deferred[#deferred + 1] = due
  deferred[#deferred + 1] = member
  return 1
end

for i, member in ipairs(members) do
  local item = (i - 1) * ITEM + 1
  answers[i] = char(move(records[sub(member, 1, 8)], member, item, ARGV[3 + i]))
  local lane = byte(items, item + 16)
  removed[lane] = removed[lane] or {}
  table.insert(removed[lane], member)
end
write_records(KEYS[3], records)
for lane, gone in pairs(removed) do redis.call('ZREM', KEYS[8 + lane], unpack(gone)) end
if #details > 0 then redis.call('HSET', KEYS[4], unpack(details)) end
if #deferred > 0 then
  redis.call('ZADD', KEYS[7], unpack(deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
write_ends(KEYS[5], KEYS[6], out)
write_counts(KEYS[2])
return table.concat(answers)
