#!lua flags=
-- Purpose: write lines to a contact's consent table and log; a withdrawal or suppression ends what waits
--   and is covered by it (R18, R19).
-- KEYS[1] counters hash       KEYS[2] contacts hash     KEYS[3] bodies hash
-- KEYS[4] outcomes string of today                      KEYS[5] consents hash
-- ARGV[1] now, epoch ms       ARGV[2] contact key 8     ARGV[3] number of lines
-- ARGV[4] lines as `consent_log.lua` draws them
-- Returns: {number of the last line, members ended, members in flight}, 16 bytes each, joined
-- Atomicity: all lines and their ends together.
-- Cost: O(lines * references of the contact)
-- @include ../../timing_wheel/lua/record
-- @include consent
-- @include consent_log
local now_ms, contact, lines = tonumber(ARGV[1]), ARGV[2], ARGV[4]
local records = open_records(KEYS[2], {contact})
local rec = records[contact]
if not rec then
  rec = new_record()
  records[contact] = rec
end
rec.dirty = true
local out = {lines = {}, bodies = {}}
local ended, flying, at = {}, {}, 1
for _ = 1, tonumber(ARGV[3]) do
  local entry
  entry, at = add_consent_line(rec, contact, lines, at, now_ms)
  end_by_consent(rec, contact, entry, now_ms, out, ended, flying)
end
local last = rec.lines
write_records(KEYS[2], records)
write_consent_log(KEYS[5])
write_ends(KEYS[3], KEYS[4], out)
write_counts(KEYS[1])
return {last, table.concat(ended), table.concat(flying)}
