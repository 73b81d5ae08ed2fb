-- Library: what is heard of a message moves it among the ended states (R6, R48); the twin of
-- `core/timing_wheel/memory_heard.py`.
local DELIVERED, NOT_DELIVERED = 4, 5
local HEARD_DELIVERED, HARD_BOUNCED, SOFT_BOUNCED = 1, 2, 3
local RESOLVED_SENT, RESOLVED_NOT_SENT = 9, 10
local INVALID_RECIPIENT, TEMPORARY_RECIPIENT_ERROR, PARENT_NOT_DELIVERED = 97, 98, 42
local NOTE, NOTE_FEEDBACK, FLAG_FOLLOW_UP, FLAG_HEARD = 17, 16, 2, 64

-- State and reason after the feedback; only what was handed over moves.
local function moved(state, reason, kind, why)
  if state ~= SENT and state ~= DELIVERED and state ~= UNKNOWN then return state, reason end
  if kind == RESOLVED_SENT then return SENT, 0 end
  if kind == RESOLVED_NOT_SENT then return NOT_DELIVERED, why > 0 and why or reason end
  if kind == HARD_BOUNCED then return NOT_DELIVERED, why > 0 and why or INVALID_RECIPIENT end
  if kind == SOFT_BOUNCED then return NOT_DELIVERED, why > 0 and why or TEMPORARY_RECIPIENT_ERROR end
  if kind == HEARD_DELIVERED or state == UNKNOWN then return DELIVERED, 0 end
  return state, reason
end

-- Ends the later messages of the same run that wait.
local function end_followers(rec, contact, at, now_ms, out, ended)
  local refs = rec.refs
  local step, medium = byte(refs, at + 9, at + 10)
  local from, run, body =
    sub(refs, at + 14, at + 19), sub(refs, at + 40, at + 47), sub(refs, at + 64, at + 69)
  for one = 1, #refs, REF do
    if byte(refs, one + 6) == SCHEDULED and byte(refs, one + 9) > step
      and byte(refs, one + 13) % (2 * FLAG_FOLLOW_UP) >= FLAG_FOLLOW_UP
      and byte(refs, one + 10) == medium and sub(refs, one + 14, one + 19) == from
      and sub(refs, one + 40, one + 47) == run and sub(refs, one + 64, one + 69) == body then
      local member =
        member_of(contact, (unpack_('<I6', refs, one)), (unpack_('<H', refs, one + 14)))
      end_ref(rec, contact, one, CANCELLED, PARENT_NOT_DELIVERED, now_ms, out, member)
      ended[#ended + 1] = member
    end
  end
end

local function move_heard(rec, contact, at, kind, why, now_ms, out, ended)
  local was, reason = byte(rec.refs, at + 6, at + 7)
  local state, to = moved(was, reason, kind, why)
  if state == was and to == reason then return end
  if was == UNKNOWN and kind ~= RESOLVED_NOT_SENT then count_sent(rec.refs, at) end
  count('s:' .. was .. ':' .. reason, -1)
  count_end(state, to)
  rec.refs = sub(rec.refs, 1, at + 5) .. char(state, to) .. sub(rec.refs, at + 8)
  rec.dirty = true
  if state == NOT_DELIVERED then end_followers(rec, contact, at, now_ms, out, ended) end
end

local function is_marked_heard(refs, at)
  return byte(refs, at + 13) % (2 * FLAG_HEARD) >= FLAG_HEARD
end

-- Marks what is in flight: its outcome, once known, is not the last word.
local function mark_heard(rec, at)
  if byte(rec.refs, at + 6) ~= IN_FLIGHT or is_marked_heard(rec.refs, at) then return end
  rec.refs = sub(rec.refs, 1, at + 12) .. char(byte(rec.refs, at + 13) + FLAG_HEARD)
    .. sub(rec.refs, at + 14)
  rec.dirty = true
end

-- Moves what has just ended by what was heard of it in flight.
local function catch_up(rec, contact, at, member, notes_key, now_ms, out)
  local state = byte(rec.refs, at + 6)
  if state ~= SENT and state ~= UNKNOWN or not is_marked_heard(rec.refs, at) then return end
  local notes = redis.call('HGET', notes_key, member) or ''
  for note = NOTE, #notes, NOTE do
    local kind = byte(notes, note) - NOTE_FEEDBACK
    if kind > 0 then move_heard(rec, contact, at, kind, 0, now_ms, out, {}) end
  end
end
