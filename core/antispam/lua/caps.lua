-- Library: sliding-window caps over the stamps of a contact record; the twin of
-- `core/antispam/caps.py` (R23-R28). A send at t counts while now - t < window.
local CAP = 19
local CAP_ORDER_UNIT, CAP_SKIP, CAP_COUNTED, CAP_CHECKED, CAP_REPLACE, CAP_LOOK = 1, 2, 4, 8, 16, 32
local STAMP_KEPT_MS = 366 * 86400000

local function flag(flags, one)
  return math.floor(flags / one) % 2 == 1
end

-- A cap set as tables, read once for all items of a call that name it.
local function parse_caps(raw)
  local caps = {may_refuse_first = false}
  for at = 1, #raw, CAP do
    local limit, window, flags, longest = unpack_('<HI6BI6', raw, at + 4)
    caps[#caps + 1] = {
      ledger = sub(raw, at, at + 3), limit = limit, window = window, longest = longest,
      per_order = flag(flags, CAP_ORDER_UNIT), skips = flag(flags, CAP_SKIP),
      counted = flag(flags, CAP_COUNTED), checked = flag(flags, CAP_CHECKED),
      replaces = flag(flags, CAP_REPLACE), looks = flag(flags, CAP_LOOK),
    }
    if limit == 0 then caps.may_refuse_first = true end
  end
  return caps
end

local function unit_tag(cap, tag, order_key)
  if cap.per_order and order_key ~= NO_KEY then return order_key end
  return tag
end

-- When the ledger has room again, or nil if it has now; `false` if it never will (limit 0).
local function cap_freed(stamps, cap, own, now_ms)
  if cap.limit == 0 then return false end
  if stamps == '' then return nil end
  local times = {}
  local at = find_entry(stamps, STAMP, 0, cap.ledger)
  while at do
    local t = unpack_('<I6', stamps, at + 12)
    if now_ms - t < cap.window and sub(stamps, at + 4, at + 11) ~= own then
      times[#times + 1] = t
    end
    at = find_entry(stamps, STAMP, 0, cap.ledger, at + STAMP)
  end
  if #times < cap.limit then return nil end
  table.sort(times)
  return times[#times - cap.limit + 1] + cap.window
end

-- Verdict of all caps: 'pass' | 'look' | 'skip' | 'defer' | 'expire', the freed instant, the ledger that
-- decided, and whether that cap replaces.
local function caps_check(stamps, caps, tag, order_key, now_ms, expire_ms)
  if stamps == '' and not caps.may_refuse_first then return 'pass', 0, NO_KEY end
  local until_ms, last, horizon = 0, nil, expire_ms
  for i = 1, #caps do
    local cap = caps[i]
    if cap.checked then
      local freed = cap_freed(stamps, cap, unit_tag(cap, tag, order_key), now_ms)
      if freed ~= nil then
        if cap.looks then return 'look', 0, cap.ledger end
        if freed == false or cap.skips then return 'skip', 0, cap.ledger end
        if cap.longest > 0 and now_ms + cap.longest + 1 < horizon then
          horizon = now_ms + cap.longest + 1
        end
        if freed > until_ms then until_ms, last = freed, cap end
      end
    end
  end
  if not last then return 'pass', 0, NO_KEY end
  if until_ms >= horizon then return 'expire', until_ms, last.ledger end
  return 'defer', until_ms, last.ledger, last.replaces
end

local function drop_old_stamps(stamps, now_ms)
  local parts = {}
  for at = 1, #stamps, STAMP do
    if now_ms - unpack_('<I6', stamps, at + 12) < STAMP_KEPT_MS then
      parts[#parts + 1] = sub(stamps, at, at + STAMP - 1)
    end
  end
  return table.concat(parts)
end

-- True if the unit has a stamp inside the window already.
local function is_stamped(stamps, key, window, now_ms)
  local at = find_entry(stamps, STAMP, 0, key)
  while at do
    if now_ms - unpack_('<I6', stamps, at + 12) < window then return true end
    at = find_entry(stamps, STAMP, 0, key, at + STAMP)
  end
  return false
end

-- Too many stamps: without those of these caps that their windows do not reach.
local function drop_left_stamps(stamps, caps, now_ms)
  local windows, parts = {}, {}
  for i = 1, #caps do windows[caps[i].ledger] = caps[i].window end
  for at = 1, #stamps, STAMP do
    local window = windows[sub(stamps, at, at + 3)]
    if not window or now_ms - unpack_('<I6', stamps, at + 12) < window then
      parts[#parts + 1] = sub(stamps, at, at + STAMP - 1)
    end
  end
  return table.concat(parts)
end

-- Stamps with this entry's units added, and those dropped that no cap can count any more.
local function caps_reserve(stamps, caps, tag, order_key, now_ms)
  if stamps ~= '' and now_ms - unpack_('<I6', stamps, 13) >= STAMP_KEPT_MS then
    stamps = drop_old_stamps(stamps, now_ms)
  end
  local before, added, now = stamps, '', six(now_ms)
  for i = 1, #caps do
    local cap = caps[i]
    if cap.counted then
      local unit = unit_tag(cap, tag, order_key)
      local key = cap.ledger .. unit
      if (before == '' or not is_stamped(before, key, cap.window, now_ms))
        and (added == '' or not find_entry(added, STAMP, 0, key)) then
        added = added .. key .. now
      end
    end
  end
  local all = before == '' and added or before .. added
  if #all > STAMP * CONTACT_STAMPS_MAX then all = drop_left_stamps(all, caps, now_ms) end
  return all
end
