-- Library: contact records as `core/records.py` lays them out. A record is five strings of
-- fixed-width entries; finding is a plain search that checks the alignment of what it found.
local CONSENT, STAMP, TOMBSTONE, HISTORY, SEEN, REF = 24, 18, 16, 17, 15, 72
local SCHEDULED, IN_FLIGHT, SENT, SKIPPED, CANCELLED, EXPIRED, UNKNOWN = 1, 2, 3, 6, 7, 8, 10
local BY_CLIENT, FAILED, CONTACT_FULL = 32, 9, 103
local NO_KEY = string.rep('\0', 8)
local sub, byte, find, char = string.sub, string.byte, string.find, string.char
local reverse = string.reverse
local pack, unpack_ = struct.pack, struct.unpack

-- A sequence as six little-endian bytes. Most are small and the same for many contacts, and a look in a
-- table costs a third of packing.
local sixes = {}
local function six(number)
  local packed = sixes[number]
  if not packed then
    packed = pack('<I6', number)
    sixes[number] = packed
  end
  return packed
end

local function new_record()
  return {
    next = 1, lines = 0, consents = '', stamps = '', tombstones = '', history = '', events = '', refs = '',
  }
end

-- Position (1-based) of the entry whose bytes at `offset` are `needle`, or nil.
local function find_entry(section, width, offset, needle, from)
  local at = find(section, needle, from or 1, true)
  while at do
    if (at - 1) % width == offset then return at - offset end
    at = find(section, needle, at + 1, true)
  end
  return nil
end

-- @bound CONTACT_CONSENTS_MAX
-- @bound CONTACT_STAMPS_MAX
-- @bound CONTACT_TOMBSTONES_MAX
-- @bound CONTACT_HISTORY_MAX
-- @bound CONTACT_EVENTS_MAX
-- @bound CONTACT_INVITATIONS_MAX
local function keep_newest(section, width, most)
  return sub(section, #section - width * most + 1)
end

-- What has ended and may come back: a client has cancelled it (R44), or it has failed (R8).
local function may_return(state, reason)
  return (state == CANCELLED and reason == BY_CLIENT) or (state == FAILED and reason ~= CONTACT_FULL)
end

-- Body and facts are kept for what waits, is in flight, or may come back.
local function is_kept(refs, at)
  local state, reason = byte(refs, at + 6, at + 7)
  return state == SCHEDULED or state == IN_FLIGHT or may_return(state, reason)
end

-- Ended references beyond the bound go, oldest first; those that wait or are in flight stay. Also
-- returns the bodies that were kept for those that go, or nil.
local function trim_refs(refs)
  local excess = #refs / REF - CONTACT_INVITATIONS_MAX
  local parts, bodies = {}, nil
  for at = 1, #refs, REF do
    if excess > 0 and byte(refs, at + 6) >= SENT then
      excess = excess - 1
      if is_kept(refs, at) then
        bodies = bodies or {}
        bodies[#bodies + 1] = sub(refs, at + 64, at + 69)
      end
    else
      parts[#parts + 1] = sub(refs, at, at + REF - 1)
    end
  end
  return table.concat(parts), bodies
end

-- Position of the consent entry to go first: the first evidence of an order, else the first evidence,
-- else the first that is narrower than the account; and whether it is evidence.
local function first_to_go(consents)
  local evidence, narrow
  for at = 1, #consents, CONSENT do
    local scope, _, _, status = byte(consents, at, at + 3)
    local is_evidence = status ~= 3 and status < 16
    if is_evidence and scope == 2 then return at, true end
    if is_evidence then
      evidence = evidence or at
    elseif scope > 0 then
      narrow = narrow or at
    end
  end
  if evidence then return evidence, true end
  return narrow, false
end

-- Evidence goes. A withdrawal or suppression never does: it comes to hold for the whole account, where
-- there is one entry for each purpose, medium and status; the newer time stays.
local function trim_consents(consents)
  while #consents > CONSENT * CONTACT_CONSENTS_MAX do
    local at, is_evidence = first_to_go(consents)
    if not at then return consents end
    local entry = sub(consents, at, at + CONSENT - 1)
    consents = sub(consents, 1, at - 1) .. sub(consents, at + CONSENT)
    if not is_evidence then
      local wide = '\0' .. sub(entry, 2, 4) .. NO_KEY
      local old = find_entry(consents, CONSENT, 0, wide)
      if not old then
        consents = consents .. wide .. sub(entry, 13)
      elseif unpack_('<I6', consents, old + 12) <= unpack_('<I6', entry, 13) then
        consents = sub(consents, 1, old - 1) .. wide .. sub(entry, 13) .. sub(consents, old + CONSENT)
      end
    end
  end
  return consents
end

-- Brings every section back within its bound.
local function trim_record(rec)
  if #rec.stamps > STAMP * CONTACT_STAMPS_MAX then
    rec.stamps = keep_newest(rec.stamps, STAMP, CONTACT_STAMPS_MAX)
  end
  if #rec.tombstones > TOMBSTONE * CONTACT_TOMBSTONES_MAX then
    rec.tombstones = keep_newest(rec.tombstones, TOMBSTONE, CONTACT_TOMBSTONES_MAX)
  end
  if #rec.history > HISTORY * CONTACT_HISTORY_MAX then
    rec.history = keep_newest(rec.history, HISTORY, CONTACT_HISTORY_MAX)
  end
  if #rec.events > SEEN * CONTACT_EVENTS_MAX then
    rec.events = keep_newest(rec.events, SEEN, CONTACT_EVENTS_MAX)
  end
  if #rec.refs > REF * CONTACT_INVITATIONS_MAX then rec.refs, rec.idle = trim_refs(rec.refs) end
  if #rec.consents > CONSENT * CONTACT_CONSENTS_MAX then
    rec.consents = trim_consents(rec.consents)
  end
end

local function parse_record(raw)
  local _, next_sequence, lines, c, s, t, h, e = unpack_('<BI6I4HHHHHH', raw)
  local a = 24
  local b = a + c * CONSENT
  local d = b + s * STAMP
  local f = d + t * TOMBSTONE
  local g = f + h * HISTORY
  local i = g + e * SEEN
  return {
    next = next_sequence,
    lines = lines,
    consents = c > 0 and sub(raw, a, b - 1) or '',
    stamps = s > 0 and sub(raw, b, d - 1) or '',
    tombstones = t > 0 and sub(raw, d, f - 1) or '',
    history = h > 0 and sub(raw, f, g - 1) or '',
    events = sub(raw, g, i - 1),
    refs = sub(raw, i),
  }
end

-- The sizes are compared before anything is trimmed, because most are small.
local C_MOST, S_MOST = CONSENT * CONTACT_CONSENTS_MAX, STAMP * CONTACT_STAMPS_MAX
local T_MOST, E_MOST = TOMBSTONE * CONTACT_TOMBSTONES_MAX, SEEN * CONTACT_EVENTS_MAX
local H_MOST, R_MOST = HISTORY * CONTACT_HISTORY_MAX, REF * CONTACT_INVITATIONS_MAX
local function build_record(rec)
  local c, s, t, h = rec.consents, rec.stamps, rec.tombstones, rec.history
  local e, r = rec.events, rec.refs
  if #r > R_MOST or #e > E_MOST or #s > S_MOST or #c > C_MOST or #t > T_MOST or #h > H_MOST then
    trim_record(rec)
    c, s, t, h = rec.consents, rec.stamps, rec.tombstones, rec.history
    e, r = rec.events, rec.refs
  end
  return pack('<BI6I4HHHHHH', 3, rec.next, rec.lines, #c / CONSENT, #s / STAMP, #t / TOMBSTONE,
    #h / HISTORY, #e / SEEN, #r / REF) .. c .. s .. t .. h .. e .. r
end

-- Position of a member's reference, or nil. The member names its sequence big-endian.
local function find_ref(rec, member)
  local refs, sequence = rec.refs, reverse(sub(member, 9, 14))
  local at = find(refs, sequence, 1, true)
  if not at or at % REF == 1 then return at end
  return find_entry(refs, REF, 0, sequence, at + 1)
end

-- Lua's stack has room for some 8,000 values; all plans or timers of a full batch are more.
local PIECE = 4000

local function call_in_pieces(command, key, list)
  for i = 1, #list, PIECE do
    redis.call(command, key, unpack(list, i, math.min(i + PIECE - 1, #list)))
  end
end

-- Contact records of a batch: read once, changed in memory, written once. `records` may hold
-- placeholders, which end as nil.
local function open_records(key, contacts, records)
  local raws
  records = records or {}
  if #contacts > 0 then raws = redis.call('HMGET', key, unpack(contacts)) end
  for i = 1, #contacts do
    records[contacts[i]] = raws[i] and parse_record(raws[i]) or nil
  end
  return records
end

-- The records of all contacts to which these members (or longer strings that begin so) belong.
local function open_contacts(key, members)
  local contacts, wanted = {}, {}
  for _, member in ipairs(members) do
    local contact = sub(member, 1, 8)
    if not wanted[contact] then
      wanted[contact] = true
      contacts[#contacts + 1] = contact
    end
  end
  return open_records(key, contacts)
end

-- True if another invitation of the contact still needs this body.
local function body_needed(rec, body, except)
  if #rec.refs == REF and except == 1 then return false end
  local at = find_entry(rec.refs, REF, 64, body)
  while at do
    if at ~= except and is_kept(rec.refs, at) then return true end
    at = find_entry(rec.refs, REF, 64, body, at + REF)
  end
  return false
end

-- True if anything of the contact, or of one order of it, is kept.
local function has_kept(rec, order_key)
  local refs = rec.refs
  for at = 1, #refs, REF do
    if is_kept(refs, at) and (not order_key or sub(refs, at + 48, at + 55) == order_key) then
      return true
    end
  end
  return false
end

-- Where the facts of a contact stand among the bodies: no event has this sequence.
local FACTS = string.rep('\0', 6)

-- Bodies and facts that went with what was dropped at the bound; `write_ends` deletes them.
local trimmed, facts_trimmed = {}, {}
local function drop_idle(contact, rec, body, bodies)
  if body_needed(rec, body) then return end
  bodies[#bodies + 1] = contact .. reverse(body)
  if not has_kept(rec) then
    bodies[#bodies + 1] = contact .. FACTS
    facts_trimmed[contact] = true
  end
end

local function write_records(key, records)
  local args, n = {}, 0
  for contact, rec in pairs(records) do
    if rec.dirty then
      args[n + 1] = contact
      n = n + 2
      args[n] = build_record(rec)
      for _, body in ipairs(rec.idle or {}) do drop_idle(contact, rec, body, trimmed) end
    end
  end
  if n > 0 then redis.call('HSET', key, unpack(args)) end
end

-- Counters of the conservation law and of rules, summed over the call and written once. What has ended
-- is counted by number, because making its name costs more than the rest.
local counts, end_counts = {}, {}
local function count(field, by)
  counts[field] = (counts[field] or 0) + by
end

local function count_end(state, reason)
  local number = state * 256 + reason
  end_counts[number] = (end_counts[number] or 0) + 1
end

local rule_counts = {}
local function count_rule(rule, what)
  local number = rule * 8 + what
  rule_counts[number] = (rule_counts[number] or 0) + 1
end

-- Messages sent, by channel and medium (g6); and by rule.
local sent_counts = {}
local function count_sent(refs, at)
  local channel, rule = unpack_('<HI4', refs, at + 14)
  local number = channel * 256 + byte(refs, at + 10)
  sent_counts[number] = (sent_counts[number] or 0) + 1
  count_rule(rule, 1)
  if byte(refs, at + 13) % 4 < 2 then count_rule(rule, 2) end
end

-- What this call has sent, into the hash of its day.
local function write_traffic(key)
  for number, by in pairs(sent_counts) do
    redis.call('HINCRBY', key, math.floor(number / 256) .. ':' .. number % 256 .. ':sent', by)
  end
end

local function write_counts(key)
  for number, by in pairs(rule_counts) do
    redis.call('HINCRBY', key, 'r:' .. math.floor(number / 8) .. ':' .. number % 8, by)
  end
  for number, by in pairs(end_counts) do
    redis.call('HINCRBY', key, 's:' .. math.floor(number / 256) .. ':' .. number % 256, by)
  end
  for field, by in pairs(counts) do
    if by ~= 0 then redis.call('HINCRBY', key, field, by) end
  end
end

-- The attempts are one byte with three spare ones behind it: one number to pack.
local function outcome_line(member, state, reason, rule, now_ms, attempts)
  return pack('<c16BBI4I6I4', member, state, reason, rule, now_ms, attempts)
end

local function member_of(contact, sequence, channel)
  return pack('>c8I6H', contact, sequence, channel)
end


-- Ends the reference at `at`; collects what must be written. `born` are references to be added in the
-- same stroke; `keeps_body` says that one of them needs the body; `content` is the revision that was sent,
-- two bytes, and `template` the mark of its template: it takes the byte of the wait reason.
local end_mark
local function end_ref(rec, contact, at, state, reason, now_ms, out, member, born, keeps_body, content,
  template)
  local refs = rec.refs
  local old, _, _, _, _, _, attempts = byte(refs, at + 6, at + 12)
  end_mark = end_mark or pack('<I6', now_ms)
  rec.refs = sub(refs, 1, at + 5) .. char(state, reason, template or 0) .. sub(refs, at + 9, at + 31) .. end_mark
    .. (content or '\0\0') .. sub(refs, at + 40) .. (born or '')
  rec.dirty = true
  count(old == IN_FLIGHT and 'in_flight' or 'scheduled', -1)
  count_end(state, reason)
  local channel, rule = unpack_('<HI4', refs, at + 14)
  if not member then member = member_of(contact, (unpack_('<I6', refs, at)), channel) end
  if state == SENT then count_sent(refs, at) end
  local lines = out.lines
  lines[#lines + 1] = outcome_line(member, state, reason, rule, now_ms, attempts)
  if keeps_body or may_return(state, reason) then return end
  local body = sub(refs, at + 64, at + 69)
  if not body_needed(rec, body, at) then
    local bodies = out.bodies
    bodies[#bodies + 1] = contact .. reverse(body)
    if not has_kept(rec) then
      bodies[#bodies + 1] = contact .. FACTS
      if out.facts then out.facts[contact] = '' end
    end
  end
end

local function write_ends(bodies_key, outcomes_key, out)
  call_in_pieces('HDEL', bodies_key, out.bodies)
  call_in_pieces('HDEL', bodies_key, trimmed)
  if #out.lines > 0 then redis.call('APPEND', outcomes_key, table.concat(out.lines)) end
end
