-- Library: how a plan becomes an invitation, shared by commit and settle.
-- A plan, packed by `core/timing_wheel/codec.py`; it stands at `p` in a longer string:
--   0 bytes 9 to 63 of the reference as they will stand there: step B, medium B, purpose B,
--     attempts B, flags B, channel H, rule I4, due I6, expire I6, mark 8 (zeros), event key 8,
--     order key 8, message key 8
--   55 priority B, kinds B: the end of the reference
--   57 needs_consent B, state B, reason B, slot key index H, channel again as members have it 2,
--   64 due I6, channel H: as answers have them, 72 due as 15 digits: a score that needs no printing
--   87 number of stops B, then (event type number H, reason B) for each.
local PLAN, STOP_WIDTH = 88, 3
local NEAR, FAR = 1, 0
local DUPLICATE = 15
-- @bound CONTACT_WAITING_MAX

-- The reason of the first tombstone of the order that ends this plan, or nil.
local function tombstone_reason(rec, order_key, raw, at, stops)
  if stops == 0 then return nil end
  local found = find_entry(rec.tombstones, TOMBSTONE, 0, order_key)
  while found do
    local number = unpack_('<H', rec.tombstones, found + 8)
    for i = 0, stops - 1 do
      local stop, reason = unpack_('<HB', raw, at + i * STOP_WIDTH)
      if stop == number then return reason end
    end
    found = find_entry(rec.tombstones, TOMBSTONE, 0, order_key, found + TOMBSTONE)
  end
  return nil
end

-- The kinds that no other invitation with the message key has (R2), or nil if nothing is left: of 0,
-- which is no review request, any other holder leaves nothing.
local function kinds_left(rec, message_key, kinds)
  if message_key == NO_KEY then return kinds end
  local at = find_entry(rec.refs, REF, 56, message_key)
  while at do
    local state = byte(rec.refs, at + 6)
    if state ~= SKIPPED and state ~= EXPIRED then
      local held = byte(rec.refs, at + 71)
      if held % 2 == 1 and kinds % 2 == 1 then kinds = kinds - 1 end
      if held >= 2 and kinds >= 2 then kinds = kinds - 2 end
      if kinds == 0 then return nil end
    end
    at = find_entry(rec.refs, REF, 56, message_key, at + REF)
  end
  return kinds
end

-- State, reason and kinds at birth. `checks_consent` is false for the later steps of a run: the gate
-- looks again when they are due.
local function birth_state(rec, raw, p, checks_consent, now_ms)
  local kinds, needs_consent, state, reason = byte(raw, p + 56, p + 59)
  if state ~= SCHEDULED then return state, reason, kinds end
  if #rec.refs >= REF * CONTACT_WAITING_MAX then return FAILED, CONTACT_FULL, kinds end
  if rec.tombstones ~= '' then
    local stopped = tombstone_reason(rec, sub(raw, p + 39, p + 46), raw, p + PLAN, byte(raw, p + 87))
    if stopped then return CANCELLED, stopped, kinds end
  end
  if rec.refs ~= '' then
    local left = kinds_left(rec, sub(raw, p + 47, p + 54), kinds)
    if not left then return SKIPPED, DUPLICATE, kinds end
    kinds = left
  end
  if checks_consent and needs_consent == 1 then
    local medium, purpose = byte(raw, p + 1, p + 2)
    local why, pending =
      consent_refusal(rec.consents, raw, p + 5, p + 39, purpose, medium, now_ms, true, true)
    if why ~= 0 and not pending then return SKIPPED, why, kinds end
  end
  return SCHEDULED, 0, kinds
end

-- Makes a reference and collects index entries. Returns the reference, which the caller adds to the
-- record, and its state; its answer goes to the end of `answers`.
-- `body` is the body's sequence as six bytes; `event_key` is nil if the plan has it already.
-- `out`: near, slots (key index -> zadd arguments), details, lines.
local planned, begun = 0, 0
local function give_birth(rec, contact, raw, p, detail, body, event_key, now_ms, out, answers, checks)
  local state, reason, kinds = birth_state(rec, raw, p, checks, now_ms)
  local sequence = six(rec.next)
  local member = contact .. reverse(sequence) .. sub(raw, p + 62, p + 63)
  local lane, plan = FAR, nil
  rec.next = rec.next + 1
  planned = planned + 1
  if event_key then
    plan = sub(raw, p, p + 30) .. event_key .. sub(raw, p + 39, p + 54)
  else
    plan = sub(raw, p, p + 54)
  end
  if state == SCHEDULED then
    begun = begun + 1
    local due, zadd = sub(raw, p + 72, p + 86), out.near
    if due < out.loaded then
      lane = NEAR
    else
      local low, high = byte(raw, p + 60, p + 61)
      local index = low + high * 256
      zadd = out.slots[index]
      if not zadd then
        zadd = {}
        out.slots[index] = zadd
      end
    end
    local n = #zadd
    zadd[n + 1] = due
    zadd[n + 2] = member
  else
    plan = sub(plan, 1, 23) .. pack('<I6H', now_ms, 0) .. sub(plan, 32)
    count_end(state, reason)
    out.lines[#out.lines + 1] =
      outcome_line(member, state, reason, (unpack_('<I4', plan, 8)), now_ms, 0)
  end
  local details = out.details
  local n = #details
  details[n + 1] = member
  details[n + 2] = detail
  n = #answers
  answers[n + 1] = sequence
  answers[n + 2] = char(state, reason, lane)
  answers[n + 3] = sub(raw, p + 64, p + 71)
  return sequence .. char(state, reason, 0) .. plan .. body .. char(byte(raw, p + 55), kinds), state
end

-- `loaded_until` as digits, so that the due times of plans compare with it as they are.
local function loaded_until(meta_key)
  return string.format('%015.0f', tonumber(redis.call('HGET', meta_key, 'loaded_until') or 0))
end

-- Writes index entries and details. `first_slot` is the position of the first slot key in KEYS.
local function write_births(out, details_key, slots_key, near_key, meta_key, first_slot, width)
  count('planned', planned)
  count('scheduled', begun)
  call_in_pieces('HSET', details_key, out.details)
  for index, zadd in pairs(out.slots) do
    call_in_pieces('ZADD', KEYS[first_slot + index], zadd)
    local number = math.floor(tonumber(zadd[1]) / width)
    redis.call('ZADD', slots_key, number, number)
  end
  if #out.near > 0 then
    call_in_pieces('ZADD', near_key, out.near)
    redis.call('HINCRBY', meta_key, 'near_version', 1)
  end
end
