-- Library: giving back the reservations of a message that was certainly not handed over (R25).
local CAPPED_WAIT_REASON = 1

-- True if another message of the order was sent or is on its way: then the order's unit stays.
local function order_was_used(rec, order_key, except)
  local at = find_entry(rec.refs, REF, 48, order_key)
  while at do
    local state = byte(rec.refs, at + 6)
    if at ~= except and ((state >= IN_FLIGHT and state <= 5) or state == UNKNOWN) then return true end
    at = find_entry(rec.refs, REF, 48, order_key, at + REF)
  end
  return false
end

local function drop_stamps(stamps, tag)
  local at = find_entry(stamps, STAMP, 4, tag)
  while at do
    stamps = sub(stamps, 1, at - 1) .. sub(stamps, at + STAMP)
    at = find_entry(stamps, STAMP, 4, tag, at)
  end
  return stamps
end

-- The contact's best entry that waits for a cap: by (due, priority descending, sequence).
local function best_capped(rec)
  local best, best_due, best_priority
  for at = 1, #rec.refs, REF do
    if byte(rec.refs, at + 6) == SCHEDULED and byte(rec.refs, at + 8) == CAPPED_WAIT_REASON then
      local due, priority = unpack_('<I6', rec.refs, at + 20), byte(rec.refs, at + 70)
      if not best or due < best_due or (due == best_due and priority > best_priority) then
        best, best_due, best_priority = at, due, priority
      end
    end
  end
  return best
end

-- Returns the woken entry as 22 bytes (member 16, due I6), or ''.
local function release_caps(rec, contact, at, member, now_ms, out)
  local before = #rec.stamps
  rec.stamps = drop_stamps(rec.stamps, '\0\0' .. sub(member, 9, 14))
  local order_key = sub(rec.refs, at + 48, at + 55)
  if order_key ~= NO_KEY and not order_was_used(rec, order_key, at) then
    rec.stamps = drop_stamps(rec.stamps, order_key)
  end
  if #rec.stamps == before then return '' end
  rec.dirty = true
  local best = best_capped(rec)
  if not best then return '' end
  local refs = rec.refs
  rec.refs = sub(refs, 1, best + 7) .. '\0' .. sub(refs, best + 9, best + 19)
    .. pack('<I6', now_ms) .. sub(refs, best + 26)
  local woken = member_of(contact, unpack_('<I6', refs, best), unpack_('<H', refs, best + 14))
  out.deferred[#out.deferred + 1] = now_ms
  out.deferred[#out.deferred + 1] = woken
  return woken .. pack('<I6', now_ms)
end
