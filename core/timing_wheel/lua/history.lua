-- Library: purchases, refunds, and whether a rule on them fires (R43). Twin of `memory_history.py`.
local PURCHASE, REFUND, FIRED = 1, 2, 3

local function find_history(rec, kind, key)
  local at = find_entry(rec.history, HISTORY, 0, char(kind) .. key)
  return at
end

-- Writes the line of 17 bytes at `at`; true if it is a new purchase.
local function note_history(rec, head, at)
  local kind, key = byte(head, at), sub(head, at + 1, at + 8)
  local refunded = find_history(rec, REFUND, key)
  local bought = find_history(rec, PURCHASE, key)
  if kind == REFUND and bought then
    rec.history = sub(rec.history, 1, bought - 1) .. sub(rec.history, bought + HISTORY)
  end
  if refunded or (kind == PURCHASE and bought) then return false end
  rec.history = rec.history .. sub(head, at, at + 16)
  return kind == PURCHASE
end

-- True if the guard of 26 bytes at `at` lets its rule fire; then that is remembered.
--   rule I4, channel H, count B, is_multiple B, since I6, until I6, quiet since I6
local function guard_fires(rec, head, at)
  local rule, channel, wanted, multiple, since, till, quiet = unpack_('<I4HBBI6I6I6', head, at)
  local history, times = rec.history, 0
  local key = sub(head, at, at + 3) .. '\0\0\0\0'
  for i = 1, #history, HISTORY do
    local kind = byte(history, i)
    local time, from = unpack_('<I6H', history, i + 9)
    if kind == PURCHASE and time > since and time <= till and (channel == 0 or channel == from) then
      times = times + 1
    elseif kind == FIRED and time > quiet and sub(history, i + 1, i + 8) == key then
      return false
    end
  end
  if times ~= wanted and not (multiple == 1 and times > 0 and times % wanted == 0) then
    return false
  end
  rec.history = history .. char(FIRED) .. key .. pack('<I6H', till, 0)
  return true
end
