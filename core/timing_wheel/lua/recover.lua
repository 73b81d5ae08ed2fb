#!lua flags=
-- Purpose: take back claims whose lease has run out. What may be sent twice waits again, what may
--   not (flag HOLD_UNKNOWN) ends UNKNOWN, and so does what was heard of: then as what was heard says
--   (R48). Runs all the time, not only after a restart.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] bodies hash         KEYS[5] claims hash       KEYS[6] claim-deadlines zset
-- KEYS[7] deferred zset       KEYS[8] outcomes string of today              KEYS[9] notes hash
-- KEYS[10] traffic hash of today
-- ARGV[1] now, epoch ms (business clock)                ARGV[2] lease clock now, ms
-- ARGV[3] owner epoch         ARGV[4] owner nonce 8     ARGV[5] most claims taken back per call
-- Returns: {0, answers} with 23 bytes an entry (member 16, state B, due I6), or {1} another owner
-- Atomicity: a claim is taken back whole.
-- Cost: O(entries of the claims + references of their contacts)
-- @include record
-- @include heard
local OUTCOME_UNKNOWN, RETRY_WAIT, HOLD_UNKNOWN = 101, 2, 1
local now_ms = tonumber(ARGV[1])
local owner = redis.call('HMGET', KEYS[1], 'epoch', 'nonce')
if owner[1] ~= ARGV[3] or owner[2] ~= ARGV[4] then return {1} end
-- Claims that took nothing, or of which nothing is left, are only forgotten: many of those fit.
local run_out = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', ARGV[2], 'LIMIT', 0, PIECE)
local tokens, room = {}, tonumber(ARGV[5])
local out = {lines = {}, bodies = {}}
local deferred, answers = {}, {}

local members, token_of = {}, {}
for _, token in ipairs(run_out) do
  if room == 0 then break end
  local lease = redis.call('HGET', KEYS[5], token)
  local held = lease and unpack_('<H', lease, 7) or 0
  if held > 0 then room = room - 1 end
  tokens[#tokens + 1] = token
  for i = 0, held - 1 do
    local member = sub(lease, 9 + i * 16, 24 + i * 16)
    members[#members + 1] = member
    token_of[#members] = token
  end
end
local records = open_contacts(KEYS[3], members)

local function take_back(member, token)
  local contact = sub(member, 1, 8)
  local rec = records[contact]
  local at = rec and find_ref(rec, member)
  if not at or byte(rec.refs, at + 6) ~= IN_FLIGHT
    or sub(rec.refs, at + 32, at + 39) ~= sub(token, 1, 8) then
    return
  end
  local refs = rec.refs
  local due, state = unpack_('<I6', refs, at + 20), SCHEDULED
  local was_heard = is_marked_heard(refs, at) and byte(refs, at + 7) == 0
  if was_heard or byte(refs, at + 13) % 2 == HOLD_UNKNOWN then
    end_ref(rec, contact, at, UNKNOWN, OUTCOME_UNKNOWN, now_ms, out, member)
    catch_up(rec, contact, at, member, KEYS[9], now_ms, out)
    state = byte(rec.refs, at + 6)
  elseif byte(refs, at + 7) ~= 0 then
    -- An event has ended it in flight.
    state = CANCELLED
    end_ref(rec, contact, at, CANCELLED, byte(refs, at + 7), now_ms, out, member)
  else
    rec.refs = sub(refs, 1, at + 5) .. char(SCHEDULED, 0, RETRY_WAIT) .. sub(refs, at + 9, at + 31)
      .. NO_KEY .. sub(refs, at + 40)
    rec.dirty = true
    count('in_flight', -1)
    count('scheduled', 1)
    deferred[#deferred + 1] = due
    deferred[#deferred + 1] = member
  end
  answers[#answers + 1] = member .. pack('<BI6', state, due)
end

for i, member in ipairs(members) do take_back(member, token_of[i]) end
write_records(KEYS[3], records)
if #deferred > 0 then
  redis.call('ZADD', KEYS[7], unpack(deferred))
  redis.call('HINCRBY', KEYS[1], 'near_version', 1)
end
write_ends(KEYS[4], KEYS[8], out)
if #tokens > 0 then
  redis.call('HDEL', KEYS[5], unpack(tokens))
  redis.call('ZREM', KEYS[6], unpack(tokens))
end
write_traffic(KEYS[10])
write_counts(KEYS[2])
return {0, table.concat(answers)}
