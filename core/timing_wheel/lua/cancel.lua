#!lua flags=
-- Purpose: end waiting invitations on request; the answer is the truth after the call.
-- KEYS[1] counters hash       KEYS[2] contacts hash     KEYS[3] bodies hash
-- KEYS[4] outcomes string of today
-- ARGV[1] now, epoch ms       ARGV[2] state             ARGV[3] reason
-- ARGV[4...] members, 16 bytes each, <= 128
-- Returns: one byte a member: its state after the call, 0 if there is no such invitation
-- Atomicity: all members or none. Index entries stay; the claim that meets them drops them.
-- Cost: O(members + references of their contacts)
-- @include record
local now_ms, state, reason = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local records = open_contacts(KEYS[2], {unpack(ARGV, 4)})
local out = {lines = {}, bodies = {}}
local answers = {}
for i = 4, #ARGV do
  local contact = sub(ARGV[i], 1, 8)
  local rec = records[contact]
  local at = rec and find_ref(rec, ARGV[i])
  local now = at and byte(rec.refs, at + 6) or 0
  if now == SCHEDULED then
    end_ref(rec, contact, at, state, reason, now_ms, out, ARGV[i])
    now = state
  end
  answers[#answers + 1] = char(now)
end
write_records(KEYS[2], records)
write_ends(KEYS[3], KEYS[4], out)
write_counts(KEYS[1])
return table.concat(answers)
