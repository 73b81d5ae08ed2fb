#!lua flags=
-- Purpose: forget what a contact's invitations were told by events of somebody who is erased (R22).
-- KEYS[1] bodies hash
-- ARGV[1] contact key 8       ARGV[2...] facts to forget, whole, as they are stored
-- Returns: how many facts are left
-- Atomicity: all or none. Idempotent.
-- Cost: O(facts of the contact)
local sub, call = string.sub, redis.call
local field = ARGV[1] .. string.rep('\0', 6)
local facts = call('HGET', KEYS[1], field)
if not facts then return 0 end
local gone = {}
for i = 2, #ARGV do gone[ARGV[i]] = true end
local at, left = 1, {}
while at <= #facts do
  local last = at + 17 + struct.unpack('<I4', facts, at + 14)
  local fact = sub(facts, at, last)
  if not gone[fact] then left[#left + 1] = fact end
  at = last + 1
end
if #left == 0 then
  call('HDEL', KEYS[1], field)
else
  call('HSET', KEYS[1], field, table.concat(left))
end
return #left
