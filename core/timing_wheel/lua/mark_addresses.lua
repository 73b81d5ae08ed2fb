#!lua flags=
-- Purpose: ask addresses that several contacts share whether claimed messages may go there, and reserve
--   (R4); the twin of `core/timing_wheel/memory_addresses.py`, which explains the second stamp.
-- KEYS[1] contacts hash
-- ARGV[1] now, epoch ms       ARGV[2] number of items, <= 128
-- ARGV[3] items, 35 bytes each: address key 8, tag 8, order key 8, channel H, purpose B, medium B,
--   expire I6, cap set B
-- ARGV[4...] cap sets as `claim.lua` draws them; none looks again
-- Returns: 8 bytes an item: code B, reason B, due I6
-- Atomicity: all items or none. What a tag has reserved never stands in its own way.
-- Cost: O(items + stamps of their addresses)
-- @include record
-- @include ../../antispam/lua/consent
-- @include ../../antispam/lua/caps
local PASSED, SUPPRESSED_THERE, CAPPED_THERE, DEFERRED, EXPIRED_THERE = 0, 1, 2, 3, 4
local CAPPED, NO_SLOT, ITEM = 5, 64, 35
local now_ms, total, items = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local cap_sets = {}

local function caps_of(set)
  if not cap_sets[set] then
    local caps = parse_caps(ARGV[4 + set])
    for i = 1, #caps do
      caps.any_counted = caps.any_counted or caps[i].counted
      caps.any_order = caps.any_order or (caps[i].counted and caps[i].per_order)
    end
    cap_sets[set] = caps
  end
  return cap_sets[set]
end

-- Why the address is not written to, or 0.
local function refusal(consents, item, purpose, medium)
  if consents == '' then return 0 end
  local why = consent_suppression(consents, items, item + 24, item + 16, purpose, medium)
  if why ~= 0 then return why end
  local _, word = consent_decide(consents, items, item + 24, item + 16, purpose, medium, now_ms)
  return word == CONSENT_WITHDRAWN and UNSUBSCRIBED or 0
end

local function reserve(rec, caps, tag, order_key)
  if caps.any_order and order_key ~= NO_KEY then
    local more = {{ledger = sub(order_key, 1, 4), window = STAMP_KEPT_MS, counted = true}}
    for i = #caps, 1, -1 do table.insert(more, 1, caps[i]) end
    caps = more
  end
  rec.stamps = caps_reserve(rec.stamps, caps, tag, order_key, now_ms)
  rec.dirty = true
end

local function mark(rec, item)
  local purpose, medium = byte(items, item + 26, item + 27)
  local expire, set = unpack_('<I6B', items, item + 28)
  local why = refusal(rec.consents, item, purpose, medium)
  if why ~= 0 then return pack('<BBI6', SUPPRESSED_THERE, why, 0) end
  local tag, order_key = sub(items, item + 8, item + 15), sub(items, item + 16, item + 23)
  local caps = caps_of(set)
  local verdict, until_ms = caps_check(rec.stamps, caps, tag, order_key, now_ms, expire)
  if verdict == 'skip' then return pack('<BBI6', CAPPED_THERE, CAPPED, 0) end
  if verdict == 'defer' then return pack('<BBI6', DEFERRED, 0, until_ms) end
  if verdict == 'expire' then return pack('<BBI6', EXPIRED_THERE, NO_SLOT, 0) end
  if caps.any_counted then reserve(rec, caps, tag, order_key) end
  return pack('<BBI6', PASSED, 0, 0)
end

local addresses = {}
for i = 0, total - 1 do addresses[i + 1] = sub(items, i * ITEM + 1, i * ITEM + 8) end
local records, answers = open_contacts(KEYS[1], addresses), {}
for i, address in ipairs(addresses) do
  records[address] = records[address] or new_record()
  answers[i] = mark(records[address], (i - 1) * ITEM + 1)
end
write_records(KEYS[1], records)
return table.concat(answers)
