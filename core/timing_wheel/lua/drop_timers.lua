#!lua flags=
-- Purpose: forget timers: their rule is gone, or their contact became another.
-- KEYS[1] timers hash         KEYS[2] timer-dues zset
-- ARGV[1...] members 16: contact key 8, timer id 8
-- Returns: how many were forgotten
-- Atomicity: all or none. Idempotent.
-- Cost: O(timers of their contacts)
-- @include record
-- @include timers
local out = {
  timers_key = KEYS[1], timers = {}, timers_dirty = {}, timers_gone = {}, timers_set = {},
}
for _, member in ipairs(ARGV) do
  local contact = sub(member, 1, 8)
  local held = timers_of(out, contact)
  local i = find_timer(held, sub(member, 9, 16))
  if i then drop_timer(out, contact, held, i) end
end
write_timers(out, KEYS[2])
return #out.timers_gone
