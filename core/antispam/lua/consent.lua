-- Library: the consent table of a contact record; the twin of `core/antispam/consent.py` (R17).
local NO_CONSENT, CONSENT_WITHDRAWN = 1, 2
local GRANTED, WITHDRAWN, PENDING = 1, 3, 4

-- The scope key of a channel, from the two bytes of its number.
local channel_keys = {}
local function channel_key_of(number)
  local key = channel_keys[number]
  if not key then
    key = number .. '\0\0\0\0\0\0'
    channel_keys[number] = key
  end
  return key
end

local function consent_covers(scope, key, channel_key, order_key)
  return scope == 0 or (scope == 1 and key == channel_key)
    or (scope == 2 and key ~= NO_KEY and key == order_key)
end

-- Returns allowed, reason, is_pending. The channel's number and the order key are taken out of `source`
-- only if an entry of that scope asks for them.
local function consent_decide(consents, source, channel_at, order_at, purpose, medium)
  local withdrawn, best, best_at, status = -1, -1, 0, 0
  for at = 1, #consents, CONSENT do
    local scope, p, m, s = byte(consents, at, at + 3)
    if p == purpose and m == medium and (s == WITHDRAWN or scope > best) then
      local covers = scope == 0
      if scope == 1 then
        covers = sub(consents, at + 4, at + 11)
          == channel_key_of(sub(source, channel_at, channel_at + 1))
      elseif scope == 2 then
        local key = sub(consents, at + 4, at + 11)
        covers = key == sub(source, order_at, order_at + 7) and key ~= NO_KEY
      end
      if covers and s == WITHDRAWN then
        local t = unpack_('<I6', consents, at + 12)
        if t > withdrawn then withdrawn = t end
      elseif covers then
        best, best_at, status = scope, at, s
      end
    end
  end
  if best < 0 then
    return false, withdrawn >= 0 and CONSENT_WITHDRAWN or NO_CONSENT, false
  end
  if withdrawn >= 0 and withdrawn >= unpack_('<I6', consents, best_at + 12) then
    return false, CONSENT_WITHDRAWN, false
  end
  if status == GRANTED then return true, 0, false end
  return false, NO_CONSENT, status == PENDING
end

-- At most one evidence and one withdrawal per (scope, key, purpose, medium); the newer stays.
local function consent_merge(consents, entry)
  local status, time = byte(entry, 4), unpack_('<I6', entry, 13)
  for at = 1, #consents, CONSENT do
    if sub(consents, at, at + 2) == sub(entry, 1, 3)
      and sub(consents, at + 4, at + 11) == sub(entry, 5, 12)
      and (byte(consents, at + 3) == WITHDRAWN) == (status == WITHDRAWN) then
      if unpack_('<I6', consents, at + 12) > time then return consents end
      return sub(consents, 1, at - 1) .. entry .. sub(consents, at + CONSENT)
    end
  end
  return consents .. entry
end
