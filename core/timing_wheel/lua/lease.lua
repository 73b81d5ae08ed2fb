-- Library: leaving a lease. A lease is deadline I6, number of members H, the members, then the answer
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
