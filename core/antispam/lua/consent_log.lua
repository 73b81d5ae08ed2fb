-- Library: writing to the consent table and the consent log of a contact; the twin of `consent.merge` and
-- of `core/timing_wheel/memory_consents.py` (R17-R19).
-- A line, packed by `codec.pack_consent_line`: entry 24, length I4, then so many bytes for the log:
--   the msgpack of `core.contact_ports.LoggedLine` without its head and number.
local DATA_FORWARDING, FLAG_ELSEWHERE = 5, 32

local function is_evidence(status) return status ~= WITHDRAWN and status < UNSUBSCRIBE end

-- What may stand once for the same scope, key, purpose and medium: 0 for plain answers, else
-- the status.
local function consent_kind(status)
  local is_apart = status == CONFIRMED or status == ASSUMED or status == PENDING
  return is_evidence(status) and not is_apart and 0 or status
end

-- The table with the entry in it: the newer of a kind stays; LIFTED takes suppressions away.
local function consent_merge(consents, entry)
  local status = byte(entry, 4)
  if consents == '' and status ~= LIFTED then return entry end
  local kind, what, key = consent_kind(status), sub(entry, 1, 3), sub(entry, 5, 12)
  for at = #consents - CONSENT + 1, 1, -CONSENT do
    if sub(consents, at, at + 2) == what and sub(consents, at + 4, at + 11) == key then
      local old = byte(consents, at + 3)
      if status == LIFTED then
        if old >= UNSUBSCRIBE then
          consents = sub(consents, 1, at - 1) .. sub(consents, at + CONSENT)
        end
      elseif consent_kind(old) == kind then
        if unpack_('<I6', consents, at + 12) > unpack_('<I6', entry, 13) then return consents end
        return sub(consents, 1, at - 1) .. entry .. sub(consents, at + CONSENT)
      end
    end
  end
  return status == LIFTED and consents or consents .. entry
end

-- When the contact was erased last, -1 if never (R22).
local function erase_ms(consents)
  local last = -1
  for at = 4, #consents, CONSENT do
    if byte(consents, at) == ERASURE then
      last = math.max(last, (unpack_('<I6', consents, at + 9)))
    end
  end
  return last
end

local logged = {}

-- A no that is said now is the newest word, also if the clock of whoever gave the evidence is ahead.
local function as_last_word(consents, entry, now_ms)
  local _, purpose, medium, status = byte(entry, 1, 4)
  local time = unpack_('<I6', entry, 13)
  if is_evidence(status) or time < now_ms then return entry end
  local newest = time
  for at = 1, #consents, CONSENT do
    local _, p, m, s = byte(consents, at, at + 3)
    if is_evidence(s) and (purpose == 0 or p == purpose) and (medium == 0 or m == medium) then
      newest = math.max(newest, (unpack_('<I6', consents, at + 12)))
    end
  end
  if newest == time then return entry end
  return sub(entry, 1, 12) .. pack('<I6', newest) .. sub(entry, 19)
end

-- Writes the line that stands at `at` of `raw`; with `now_ms` as the last word. Returns the entry and where
-- the line ends.
local function add_consent_line(rec, contact, raw, at, now_ms)
  local entry = sub(raw, at, at + CONSENT - 1)
  if now_ms then entry = as_last_word(rec.consents, entry, now_ms) end
  local first = at + CONSENT + 4
  local last = first + unpack_('<I4', raw, first - 4)
  rec.consents = consent_merge(rec.consents, entry)
  rec.lines = rec.lines + 1
  rec.dirty = true
  local number, n = reverse(sub(six(rec.lines), 1, 4)), #logged
  logged[n + 1] = contact .. number
  logged[n + 2] = '\154\206' .. number .. sub(raw, first, last - 1)
  return entry, last
end

local function write_consent_log(key)
  if #logged > 0 then call_in_pieces('HSET', key, logged) end
end

-- As what invitations end by such an entry, or nil: without consent to forward data they stay on the
-- own platform (R47).
local function consent_ending(entry)
  local _, purpose, _, status = byte(entry, 1, 4)
  if is_evidence(status) or purpose == DATA_FORWARDING then return nil end
  return (status == WITHDRAWN or status == UNSUBSCRIBE) and UNSUBSCRIBED or SUPPRESSED
end

-- True if the entry ends the invitation at `at`: it covers it, and nothing newer has outdone it. What
-- does not go to the contact is none of the contact's business (R49).
local function is_ended_by(rec, entry, at, now_ms)
  local refs = rec.refs
  local medium, purpose = byte(refs, at + 10, at + 11)
  local scope, p, m, status = byte(entry, 1, 4)
  if byte(refs, at + 13) % (2 * FLAG_ELSEWHERE) >= FLAG_ELSEWHERE or p ~= purpose and p ~= 0
    or m ~= medium and m ~= 0 or not consent_covers(entry, 1, scope, refs, at + 14, at + 48) then
    return false
  end
  if status == WITHDRAWN then
    local _, why =
      consent_decide(rec.consents, refs, at + 14, at + 48, purpose, medium, now_ms)
    return why == CONSENT_WITHDRAWN
  end
  return consent_suppression(rec.consents, refs, at + 14, at + 48, purpose, medium) ~= 0
end

-- Ends what waits and is covered by an entry that was written. Members that end go to the end of `ended`,
-- those in flight to `flying`, each once.
local function end_by_consent(rec, contact, entry, now_ms, out, ended, flying)
  local reason = consent_ending(entry)
  if not reason then return end
  for at = 1, #rec.refs, REF do
    local state = byte(rec.refs, at + 6)
    if (state == SCHEDULED or state == IN_FLIGHT) and is_ended_by(rec, entry, at, now_ms) then
      local member = member_of(contact, (unpack_('<I6', rec.refs, at)),
        (unpack_('<H', rec.refs, at + 14)))
      if state == SCHEDULED then
        end_ref(rec, contact, at, SKIPPED, reason, now_ms, out, member)
        ended[#ended + 1] = member
      elseif not flying[member] then
        flying[member] = true
        flying[#flying + 1] = member
      end
    end
  end
end
