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

-- Of the contact's entries that wait for a cap, the ledger of their last note, the first: by (due, priority
-- descending, sequence). Returns where it stands, and its member; or nil.
local function first_capped(rec, contact, notes_key, ledger)
  local first, first_due, first_priority, found
  for at = 1, #rec.refs, REF do
    if byte(rec.refs, at + 6) == SCHEDULED and byte(rec.refs, at + 8) == CAPPED_WAIT_REASON then
      local due, priority = unpack_('<I6', rec.refs, at + 20), byte(rec.refs, at + 70)
      if not first or due < first_due or (due == first_due and priority > first_priority) then
        local member =
          member_of(contact, (unpack_('<I6', rec.refs, at)), (unpack_('<H', rec.refs, at + 14)))
        if sub(redis.call('HGET', notes_key, member) or '', -5, -2) == ledger then
          first, first_due, first_priority, found = at, due, priority, member
        end
      end
    end
  end
  return first, found
end

-- Takes back what the invitation at `at` has reserved. Returns the ledgers in which it was.
local function release_stamps(rec, at, member)
  local own, order_key = '\0\0' .. sub(member, 9, 14), sub(rec.refs, at + 48, at + 55)
  if order_key == NO_KEY or order_was_used(rec, order_key, at) then order_key = own end
  local kept, ledgers, seen = {}, {}, {}
  for stamp = 1, #rec.stamps, STAMP do
    local ledger, tag = sub(rec.stamps, stamp, stamp + 3), sub(rec.stamps, stamp + 4, stamp + 11)
    if tag ~= own and tag ~= order_key then
      kept[#kept + 1] = sub(rec.stamps, stamp, stamp + STAMP - 1)
    elseif not seen[ledger] then
      seen[ledger] = true
      ledgers[#ledgers + 1] = ledger
    end
  end
  if #ledgers > 0 then
    rec.stamps = table.concat(kept)
    rec.dirty = true
  end
  return ledgers
end

-- Returns the woken entries, the first for each cap that has room again, 22 bytes each (member 16, due I6).
local function release_caps(rec, contact, at, member, now_ms, notes_key, out)
  local woken = ''
  for _, ledger in ipairs(release_stamps(rec, at, member)) do
    local first, found = first_capped(rec, contact, notes_key, ledger)
    if first then
      rec.refs = sub(rec.refs, 1, first + 7) .. '\0' .. sub(rec.refs, first + 9, first + 19)
        .. pack('<I6', now_ms) .. sub(rec.refs, first + 26)
      out.deferred[#out.deferred + 1] = now_ms
      out.deferred[#out.deferred + 1] = found
      woken = woken .. found .. pack('<I6', now_ms)
    end
  end
  return woken
end
