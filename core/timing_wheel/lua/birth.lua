-- Library: how a plan becomes an invitation, shared by commit and settle.
-- A plan argument, packed by `core/timing_wheel/codec.py`:
--   1 step B, medium B, purpose B, attempts B, flags B, channel H, rule I4, due I6, expire I6;
--   24 order key 8, message key 8; 40 priority B, spare B: these three stand so in the reference.
--   42 needs_consent B, state B, reason B, slot key index H, number of stops B, then (event type
--   number H, reason B) for each.
local NEAR, FAR = 1, 0
local DUPLICATE = 15

-- The reason of the first tombstone of the order that ends this plan, or nil.
local function tombstone_reason(rec, order_key, plan, at, stops)
  if stops == 0 or #rec.tombstones == 0 then return nil end
  local found = find_entry(rec.tombstones, TOMBSTONE, 0, order_key)
  while found do
    local number = unpack_('<H', rec.tombstones, found + 8)
    for i = 0, stops - 1 do
      local stop, reason = unpack_('<HB', plan, at + i * 3)
      if stop == number then return reason end
    end
    found = find_entry(rec.tombstones, TOMBSTONE, 0, order_key, found + TOMBSTONE)
  end
  return nil
end

-- True if another invitation holds the message key (R2).
local function key_is_held(rec, message_key)
  if message_key == NO_KEY then return false end
  local at = find_entry(rec.refs, REF, 56, message_key)
  while at do
    local state = byte(rec.refs, at + 6)
    if state ~= SKIPPED and state ~= EXPIRED then return true end
    at = find_entry(rec.refs, REF, 56, message_key, at + REF)
  end
  return false
end

-- State and reason at birth. `checks_consent` is false for the later steps of a run: the gate
-- looks again when they are due.
local function birth_state(rec, plan, checks_consent)
  local needs_consent, state, reason = byte(plan, 42, 44)
  if state ~= SCHEDULED then return state, reason end
  local order_key = sub(plan, 24, 31)
  if rec.tombstones ~= '' then
    local stopped = tombstone_reason(rec, order_key, plan, 48, byte(plan, 47))
    if stopped then return CANCELLED, stopped end
  end
  if rec.refs ~= '' and key_is_held(rec, sub(plan, 32, 39)) then return SKIPPED, DUPLICATE end
  if checks_consent and needs_consent == 1 then
    local medium, purpose = byte(plan, 2, 3)
    local ok, why, pending = consent_decide(rec.consents, channel_key_of(sub(plan, 6, 7)), order_key,
      purpose, medium)
    if not ok and not pending then return SKIPPED, why end
  end
  return SCHEDULED, 0
end

-- Appends the reference and collects index entries; returns what the caller answers.
-- `out`: near, slots (key index -> zadd arguments), numbers, details, lines.
local function give_birth(rec, contact, plan, detail, body, event_key, now_ms, loaded, out, checks)
  local state, reason = birth_state(rec, plan, checks)
  local sequence = rec.next
  local channel, rule, due = unpack_('<HI4I6', plan, 6)
  local mark = NO_KEY
  local member = member_of(contact, sequence, channel)
  local lane = FAR
  rec.next = sequence + 1
  rec.dirty = true
  count('planned', 1)
  if state == SCHEDULED then
    count('scheduled', 1)
    if due < loaded then
      lane = NEAR
      out.near[#out.near + 1] = due
      out.near[#out.near + 1] = member
    else
      local index = unpack_('<H', plan, 45)
      local zadd = out.slots[index]
      if not zadd then
        zadd = {}
        out.slots[index] = zadd
      end
      zadd[#zadd + 1] = due
      zadd[#zadd + 1] = member
    end
  else
    mark = pack('<I6', now_ms) .. '\0\0'
    count_end(state, reason)
    out.lines[#out.lines + 1] = outcome_line(member, state, reason, rule, now_ms, 0)
  end
  rec.refs = rec.refs .. pack('<I6BBBc23c8c8c16I6c2', sequence, state, reason, 0, sub(plan, 1, 23),
    mark, event_key, sub(plan, 24, 39), body, sub(plan, 40, 41))
  out.details[#out.details + 1] = member
  out.details[#out.details + 1] = detail
  return pack('<I6BBI6BH', sequence, state, reason, due, lane, channel), state
end

-- Writes index entries and details. `first_slot` is the position of the first slot key in KEYS.
local function write_births(out, details_key, slots_key, near_key, meta_key, first_slot, width)
  if #out.details > 0 then redis.call('HSET', details_key, unpack(out.details)) end
  for index, zadd in pairs(out.slots) do
    redis.call('ZADD', KEYS[first_slot + index], unpack(zadd))
    local number = math.floor(zadd[1] / width)
    redis.call('ZADD', slots_key, number, number)
  end
  if #out.near > 0 then
    redis.call('ZADD', near_key, unpack(out.near))
    redis.call('HINCRBY', meta_key, 'near_version', 1)
  end
end
