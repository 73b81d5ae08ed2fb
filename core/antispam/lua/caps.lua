-- Library: sliding-window caps over the stamps of a contact record; the twin of
-- `core/antispam/caps.py` (R23-R28). A send at t counts while now - t < window.
local CAP = 19
local CAP_ORDER_UNIT, CAP_SKIP, CAP_COUNTED, CAP_CHECKED = 1, 2, 4, 8
local STAMP_KEPT_MS = 366 * 86400000

local function flag(flags, one)
  return math.floor(flags / one) % 2 == 1
end

local function unit_tag(flags, tag, order_key)
  if flag(flags, CAP_ORDER_UNIT) and order_key ~= NO_KEY then return order_key end
  return tag
end

-- When the ledger has room again, or nil if it has now; `false` if it never will (limit 0).
local function cap_freed(stamps, ledger, own, limit, window, now_ms)
  if limit == 0 then return false end
  local times = {}
  local at = find_entry(stamps, STAMP, 0, ledger)
  while at do
    local t = unpack_('<I6', stamps, at + 12)
    if now_ms - t < window and sub(stamps, at + 4, at + 11) ~= own then times[#times + 1] = t end
    at = find_entry(stamps, STAMP, 0, ledger, at + STAMP)
  end
  if #times < limit then return nil end
  table.sort(times)
  return times[#times - limit + 1] + window
end

-- Verdict of all caps: 'pass' | 'skip' | 'defer', the freed instant, the ledger that decided.
local function caps_check(stamps, caps, tag, order_key, now_ms, expire_ms)
  local until_ms, ledger, horizon = 0, nil, expire_ms
  for at = 1, #caps, CAP do
    local limit, window, flags, longest = unpack_('<HI6BI6', caps, at + 4)
    if flag(flags, CAP_CHECKED) then
      local name = sub(caps, at, at + 3)
      local own = unit_tag(flags, tag, order_key)
      local freed = cap_freed(stamps, name, own, limit, window, now_ms)
      if freed ~= nil then
        if freed == false or flag(flags, CAP_SKIP) then return 'skip', 0, name end
        if longest > 0 and now_ms + longest + 1 < horizon then horizon = now_ms + longest + 1 end
        if freed > until_ms then until_ms, ledger = freed, name end
      end
    end
  end
  if not ledger then return 'pass', 0, NO_KEY end
  if until_ms >= horizon then return 'expire', until_ms, ledger end
  return 'defer', until_ms, ledger
end

-- Stamps with this entry's units added, and those dropped that no cap can count any more.
local function caps_reserve(stamps, caps, tag, order_key, now_ms)
  local kept = stamps
  if #stamps > 0 and now_ms - unpack_('<I6', stamps, 13) >= STAMP_KEPT_MS then
    local parts = {}
    for at = 1, #stamps, STAMP do
      if now_ms - unpack_('<I6', stamps, at + 12) < STAMP_KEPT_MS then
        parts[#parts + 1] = sub(stamps, at, at + STAMP - 1)
      end
    end
    kept = table.concat(parts)
  end
  for at = 1, #caps, CAP do
    local _, window, flags = unpack_('<HI6B', caps, at + 4)
    if flag(flags, CAP_COUNTED) then
      local key = sub(caps, at, at + 3) .. unit_tag(flags, tag, order_key)
      local old = find_entry(kept, STAMP, 0, key)
      local stands = false
      while old do
        if now_ms - unpack_('<I6', kept, old + 12) < window then stands = true end
        old = find_entry(kept, STAMP, 0, key, old + STAMP)
      end
      if not stands then kept = kept .. key .. pack('<I6', now_ms) end
    end
  end
  return kept
end
