-- Library: leaving a lease, and waiting again. A lease is deadline I6, number of members H, the members, then the answer
-- that the claim gave; it goes with its last member.
local function leave_lease(claims_key, deadlines_key, token, lease, done)
  local members = unpack_('<H', lease, 7)
  local rest = {}
  for i = 0, members - 1 do
    local member = sub(lease, 9 + i * 16, 24 + i * 16)
    if not done[member] then rest[#rest + 1] = member end
  end
  if #rest == 0 then
    redis.call('HDEL', claims_key, token)
    redis.call('ZREM', deadlines_key, token)
  elseif #rest < members then
    redis.call('HSET', claims_key, token, sub(lease, 1, 6) .. pack('<H', #rest)
      .. table.concat(rest) .. sub(lease, 9 + members * 16))
  end
end

-- Lets the entry in flight at `at` wait again until `due`; `born` are references to be added in the same
-- stroke.
local WAITS_FOR_RETRY = 2
local function put_back(rec, at, member, due, reason, attempts, born, out)
  local refs = rec.refs
  rec.refs = sub(refs, 1, at + 5) .. char(SCHEDULED, reason, WAITS_FOR_RETRY)
    .. sub(refs, at + 9, at + 11) .. char(attempts) .. sub(refs, at + 13, at + 19) .. six(due)
    .. sub(refs, at + 26, at + 31) .. NO_KEY .. sub(refs, at + 40) .. born
  rec.dirty = true
  count('in_flight', -1)
  count('scheduled', 1)
  out.deferred[#out.deferred + 1] = due
  out.deferred[#out.deferred + 1] = member
end
