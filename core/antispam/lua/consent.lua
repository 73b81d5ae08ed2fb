-- Library: what the consent table of a contact record says about a message; the twin of
-- `core/antispam/consent.py` (R17, R18). The channel's number and the order key are taken out of `source`
-- only if an entry of that scope asks for them.
local NO_CONSENT, CONSENT_WITHDRAWN, UNSUBSCRIBED, SUPPRESSED = 1, 2, 3, 4
local GRANTED, WITHDRAWN, PENDING, CONFIRMED, LIFTED, ASSUMED = 1, 3, 4, 5, 6, 7
local UNSUBSCRIBE, HARD_BOUNCE, BLOCK, ERASURE = 16, 18, 19, 21

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

-- True if the entry at `at`, which has this scope, speaks about the message's channel and order.
local function consent_covers(consents, at, scope, source, channel_at, order_at)
  if scope == 0 then return true end
  local key = sub(consents, at + 4, at + 11)
  if scope == 1 then return key == channel_key_of(sub(source, channel_at, channel_at + 1)) end
  return key == sub(source, order_at, order_at + 7) and key ~= NO_KEY
end

-- Returns allowed, reason, is_pending. What decides between evidences: see `consent.rank`. With a
-- withdrawal only what was said counts.
local function consent_decide(consents, source, channel_at, order_at, purpose, medium, now_ms)
  local withdrawn, best, best_ms, status = -1, -1, 0, 0
  local said, said_ms, answer, asked = -1, 0, 0, -1
  for at = 1, #consents, CONSENT do
    local scope, p, m, s = byte(consents, at, at + 3)
    if p == purpose and (m == medium or m == 0) and s < UNSUBSCRIBE
      and consent_covers(consents, at, scope, source, channel_at, order_at) then
      local t, expire = unpack_('<I6I6', consents, at + 12)
      if s == WITHDRAWN then
        if t > withdrawn then withdrawn = t end
      elseif s == PENDING then
        if (expire == 0 or now_ms < expire) and t > asked then asked = t end
      elseif expire == 0 or now_ms < expire then
        local rank = 4 * scope + (m == 0 and 0 or 2) + (s == ASSUMED and 0 or 1)
        local wins_ties = s == CONFIRMED
        if rank > best or (rank == best and (t > best_ms or (t == best_ms and wins_ties))) then
          best, best_ms, status = rank, t, s
        end
        if s ~= ASSUMED
          and (rank > said or (rank == said and (t > said_ms or (t == said_ms and wins_ties)))) then
          said, said_ms, answer = rank, t, s
        end
      end
    end
  end
  if withdrawn >= 0 then
    if said < 0 or withdrawn >= said_ms then
      if asked > withdrawn then return false, NO_CONSENT, true end
      return false, CONSENT_WITHDRAWN, false
    end
    status, best_ms = answer, said_ms
  end
  if status == GRANTED or status == CONFIRMED or status == ASSUMED then return true, 0, false end
  return false, NO_CONSENT, asked > (best >= 0 and best_ms or -1)
end

-- 0, or why nothing may be written.
local function consent_suppression(consents, source, channel_at, order_at, purpose, medium)
  local confirmed, reason = -1, 0
  for pass = 1, 2 do
    for at = 1, #consents, CONSENT do
      local scope, p, m, s = byte(consents, at, at + 3)
      if (pass == 1 and s == CONFIRMED or pass == 2 and s >= UNSUBSCRIBE)
        and (p == purpose or p == 0) and (m == medium or m == 0)
        and consent_covers(consents, at, scope, source, channel_at, order_at) then
        local t = unpack_('<I6', consents, at + 12)
        if pass == 1 then
          if t > confirmed then confirmed = t end
        elseif t >= confirmed or s == HARD_BOUNCE or s == BLOCK then
          if s == UNSUBSCRIBE then return UNSUBSCRIBED end
          reason = SUPPRESSED
        end
      end
    end
  end
  return reason
end

-- 0, or why not to write: the suppression first, then the consent (R10). Second: only an open double
-- opt-in is in the way.
local function consent_refusal(consents, source, channel_at, order_at, purpose, medium, now_ms, heeds,
  needs)
  -- Most contacts have no suppression, which is seen at a glance.
  for at = 4, heeds and #consents or 0, CONSENT do
    if byte(consents, at) >= UNSUBSCRIBE then
      local why = consent_suppression(consents, source, channel_at, order_at, purpose, medium)
      if why ~= 0 then return why, false end
      break
    end
  end
  if not needs then return 0, false end
  local _, why, pending =
    consent_decide(consents, source, channel_at, order_at, purpose, medium, now_ms)
  return why, pending
end

-- True if what the reference at `at` tells may be handed to a review platform (R47).
local DATA_FORWARDING = 5
local function may_forward(rec, at, now_ms)
  return (consent_decide(rec.consents, rec.refs, at + 14, at + 48, DATA_FORWARDING,
    byte(rec.refs, at + 10), now_ms))
end
