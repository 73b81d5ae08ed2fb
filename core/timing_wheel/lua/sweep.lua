#!lua flags=
-- Purpose: drop invitations whose retention is over, from the head of an old day's outcomes.
-- KEYS[1] contacts hash       KEYS[2] details hash      KEYS[3] notes hash
-- KEYS[4] outcomes string of that day                   KEYS[5] bodies hash
-- ARGV[1] most outcomes per call
-- Returns: how many outcomes were dropped; 0 when the day is done (its key is gone then)
-- Atomicity: reference, plan and note of an invitation go together, and the body that was kept for it.
-- Cost: O(outcomes + references of their contacts)
-- @include record
local lines = redis.call('GETRANGE', KEYS[4], 0, tonumber(ARGV[1]) * 32 - 1)
local total = math.floor(#lines / 32)
if total == 0 then
  redis.call('DEL', KEYS[4])
  return 0
end
local members = {}
for i = 0, total - 1 do members[i + 1] = sub(lines, i * 32 + 1, i * 32 + 16) end
local records = open_contacts(KEYS[1], members)
for _, member in ipairs(members) do
  local contact = sub(member, 1, 8)
  local rec = records[contact]
  local at = rec and find_ref(rec, member)
  if at and byte(rec.refs, at + 6) >= SENT then
    local body = is_kept(rec.refs, at) and sub(rec.refs, at + 64, at + 69)
    rec.refs = sub(rec.refs, 1, at - 1) .. sub(rec.refs, at + REF)
    rec.dirty = true
    if body then drop_idle(contact, rec, body, trimmed) end
  end
end
write_records(KEYS[1], records)
call_in_pieces('HDEL', KEYS[5], trimmed)
redis.call('HDEL', KEYS[2], unpack(members))
redis.call('HDEL', KEYS[3], unpack(members))
local rest = redis.call('GETRANGE', KEYS[4], total * 32, -1)
if rest == '' then
  redis.call('DEL', KEYS[4])
else
  redis.call('SET', KEYS[4], rest)
end
return total
