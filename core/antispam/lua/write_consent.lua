#!lua flags=
-- Purpose: grant or withdraw a consent; a withdrawal ends what waits and is covered by it (R19).
-- KEYS[1] counters hash       KEYS[2] contacts hash     KEYS[3] bodies hash
-- KEYS[4] outcomes string of today                      KEYS[5] consents hash
-- ARGV[1] now, epoch ms       ARGV[2] contact key 8     ARGV[3] consent entry 18
-- ARGV[4] document id         ARGV[5] document
-- Returns: {members ended, members in flight}, 16 bytes each, joined
-- Atomicity: entry, document and ends together.
-- Cost: O(references of the contact)
-- @include ../../timing_wheel/lua/record
-- @include consent
local UNSUBSCRIBED = 3
local now_ms, contact, entry = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local scope, purpose, medium, status = byte(entry, 1, 4)
local scope_key = sub(entry, 5, 12)
local records = open_records(KEYS[2], {contact})
local rec = records[contact]
if not rec then
  rec = new_record()
  records[contact] = rec
end
rec.consents = consent_merge(rec.consents, entry)
rec.dirty = true
local out = {lines = {}, bodies = {}}
local ended, flying = {}, {}

local function covered(at)
  local m, p = byte(rec.refs, at + 10, at + 11)
  if m ~= medium or p ~= purpose then return false end
  local channel_key = channel_key_of(sub(rec.refs, at + 14, at + 15))
  return consent_covers(scope, scope_key, channel_key, sub(rec.refs, at + 48, at + 55))
end

if status == WITHDRAWN then
  for at = 1, #rec.refs, REF do
    local state = byte(rec.refs, at + 6)
    if (state == SCHEDULED or state == IN_FLIGHT) and covered(at) then
      local member = member_of(contact, (unpack_('<I6', rec.refs, at)),
        (unpack_('<H', rec.refs, at + 14)))
      if state == IN_FLIGHT then
        flying[#flying + 1] = member
      else
        end_ref(rec, contact, at, SKIPPED, UNSUBSCRIBED, now_ms, out)
        ended[#ended + 1] = member
      end
    end
  end
end
write_records(KEYS[2], records)
redis.call('HSET', KEYS[5], contact .. ARGV[4], ARGV[5])
write_ends(KEYS[3], KEYS[4], out)
write_counts(KEYS[1])
return {table.concat(ended), table.concat(flying)}
