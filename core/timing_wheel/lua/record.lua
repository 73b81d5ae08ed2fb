-- Library: contact records as `core/records.py` lays them out. A record is five strings of
-- fixed-width entries; finding is a plain search that checks the alignment of what it found.
local CONSENT, STAMP, TOMBSTONE, SEEN, REF = 18, 18, 16, 15, 72
local SCHEDULED, IN_FLIGHT, SENT, SKIPPED, CANCELLED, EXPIRED, UNKNOWN = 1, 2, 3, 6, 7, 8, 10
local NO_KEY = string.rep('\0', 8)
local sub, byte, find, char = string.sub, string.byte, string.find, string.char
local pack, unpack_ = struct.pack, struct.unpack

local function new_record()
  return {next = 1, consents = '', stamps = '', tombstones = '', events = '', refs = ''}
end

-- @bound CONTACT_CONSENTS_MAX
-- @bound CONTACT_STAMPS_MAX
-- @bound CONTACT_TOMBSTONES_MAX
-- @bound CONTACT_EVENTS_MAX
-- @bound CONTACT_INVITATIONS_MAX
local function keep_newest(section, width, most)
  return sub(section, #section - width * most + 1)
end

-- Ended references beyond the bound go, oldest first; those that wait or are in flight stay.
local function trim_refs(refs)
  local excess = #refs / REF - CONTACT_INVITATIONS_MAX
  local parts = {}
  for at = 1, #refs, REF do
    if excess > 0 and byte(refs, at + 6) >= SENT then
      excess = excess - 1
    else
      parts[#parts + 1] = sub(refs, at, at + REF - 1)
    end
  end
  return table.concat(parts)
end

-- Evidence of single orders goes before withdrawals and wider evidence.
local function trim_consents(consents)
  while #consents > CONSENT * CONTACT_CONSENTS_MAX do
    local drop = 1
    for at = 1, #consents, CONSENT do
      if byte(consents, at) == 2 and byte(consents, at + 3) ~= 3 then
        drop = at
        break
      end
    end
    consents = sub(consents, 1, drop - 1) .. sub(consents, drop + CONSENT)
  end
  return consents
end

-- Brings every section back within its bound; the sizes are compared first, because most are small.
local function trim_record(rec)
  if #rec.stamps > STAMP * CONTACT_STAMPS_MAX then
    rec.stamps = keep_newest(rec.stamps, STAMP, CONTACT_STAMPS_MAX)
  end
  if #rec.tombstones > TOMBSTONE * CONTACT_TOMBSTONES_MAX then
    rec.tombstones = keep_newest(rec.tombstones, TOMBSTONE, CONTACT_TOMBSTONES_MAX)
  end
  if #rec.events > SEEN * CONTACT_EVENTS_MAX then
    rec.events = keep_newest(rec.events, SEEN, CONTACT_EVENTS_MAX)
  end
  if #rec.refs > REF * CONTACT_INVITATIONS_MAX then rec.refs = trim_refs(rec.refs) end
  if #rec.consents > CONSENT * CONTACT_CONSENTS_MAX then
    rec.consents = trim_consents(rec.consents)
  end
end

local function parse_record(raw)
  local _, next_sequence, c, s, t, e, r = unpack_('<BI6HHHHH', raw)
  local a = 18
  local b = a + c * CONSENT
  local d = b + s * STAMP
  local f = d + t * TOMBSTONE
  local g = f + e * SEEN
  return {
    next = next_sequence,
    consents = sub(raw, a, b - 1),
    stamps = sub(raw, b, d - 1),
    tombstones = sub(raw, d, f - 1),
    events = sub(raw, f, g - 1),
    refs = sub(raw, g, g + r * REF - 1),
  }
end

local function build_record(rec)
  return pack('<BI6HHHHH', 1, rec.next, #rec.consents / CONSENT, #rec.stamps / STAMP,
    #rec.tombstones / TOMBSTONE, #rec.events / SEEN, #rec.refs / REF)
    .. rec.consents .. rec.stamps .. rec.tombstones .. rec.events .. rec.refs
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

local function find_ref(rec, sequence)
  return find_entry(rec.refs, REF, 0, pack('<I6', sequence))
end

-- Contact records of a batch: read once, changed in memory, written once.
local function open_records(key, contacts)
  local records, raws = {}, {}
  if #contacts > 0 then raws = redis.call('HMGET', key, unpack(contacts)) end
  for i = 1, #contacts do
    records[contacts[i]] = raws[i] and parse_record(raws[i]) or nil
  end
  return records
end

local function write_records(key, records)
  local args = {}
  for contact, rec in pairs(records) do
    if rec.dirty then
      trim_record(rec)
      args[#args + 1] = contact
      args[#args + 1] = build_record(rec)
    end
  end
  if #args > 0 then redis.call('HSET', key, unpack(args)) end
end

-- Counters of the conservation law, summed over the call and written once. What has ended is counted
-- by number, because making its name costs more than the rest.
local counts, end_counts = {}, {}
local function count(field, by)
  counts[field] = (counts[field] or 0) + by
end

local function count_end(state, reason)
  local number = state * 256 + reason
  end_counts[number] = (end_counts[number] or 0) + 1
end

local function write_counts(key)
  for number, by in pairs(end_counts) do
    redis.call('HINCRBY', key, 's:' .. math.floor(number / 256) .. ':' .. number % 256, by)
  end
  for field, by in pairs(counts) do
    if by ~= 0 then redis.call('HINCRBY', key, field, by) end
  end
end

local function outcome_line(member, state, reason, rule, now_ms, attempts)
  return pack('<c16BBI4I6BBBB', member, state, reason, rule, now_ms, attempts, 0, 0, 0)
end

local function member_of(contact, sequence, channel)
  return pack('>c8I6H', contact, sequence, channel)
end

-- True if another invitation of the contact still needs this body.
local function body_needed(rec, body, except)
  local at = find_entry(rec.refs, REF, 64, body)
  while at do
    local state = byte(rec.refs, at + 6)
    if at ~= except and (state == SCHEDULED or state == IN_FLIGHT) then return true end
    at = find_entry(rec.refs, REF, 64, body, at + REF)
  end
  return false
end

-- Ends the reference at `at`; collects what must be written.
local function end_ref(rec, contact, at, state, reason, now_ms, out)
  local refs = rec.refs
  local old = byte(refs, at + 6)
  rec.refs = sub(refs, 1, at + 5) .. char(state, reason, 0) .. sub(refs, at + 9, at + 31)
    .. pack('<I6', now_ms) .. '\0\0' .. sub(refs, at + 40)
  rec.dirty = true
  count(old == IN_FLIGHT and 'in_flight' or 'scheduled', -1)
  count_end(state, reason)
  local sequence = unpack_('<I6', refs, at)
  local channel, rule = unpack_('<HI4', refs, at + 14)
  out.lines[#out.lines + 1] = outcome_line(
    member_of(contact, sequence, channel), state, reason, rule, now_ms, byte(refs, at + 12))
  local body = sub(refs, at + 64, at + 69)
  if not body_needed(rec, body, at) then
    out.bodies[#out.bodies + 1] = contact .. pack('>I6', (unpack_('<I6', body)))
  end
end

local function write_ends(bodies_key, outcomes_key, out)
  if #out.bodies > 0 then redis.call('HDEL', bodies_key, unpack(out.bodies)) end
  if #out.lines > 0 then redis.call('APPEND', outcomes_key, table.concat(out.lines)) end
end
