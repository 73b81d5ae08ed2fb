#!lua flags=
-- Purpose: return what messages reserved at addresses, because they were certainly not handed over (R25).
-- KEYS[1] contacts hash
-- ARGV[1] now, epoch ms       ARGV[2] number of items, <= 128
-- ARGV[3] items, 24 bytes each: address key 8, tag 8, order key 8
-- Returns: how many of the addresses changed
-- Atomicity: all items or none. Idempotent.
-- Cost: O(items + stamps and references of their addresses)
-- @include record
-- @include release
local ITEM = 24
local total, items = tonumber(ARGV[2]), ARGV[3]
local addresses, changed = {}, 0
for i = 0, total - 1 do addresses[i + 1] = sub(items, i * ITEM + 1, i * ITEM + 8) end
local records = open_contacts(KEYS[1], addresses)

local function give_back(rec, tag, order_key)
  local before, holder = #rec.stamps, sub(order_key, 1, 4)
  local was_holding = order_key ~= NO_KEY and find_entry(rec.stamps, STAMP, 0, holder .. tag)
  rec.stamps = drop_stamps(rec.stamps, tag)
  if was_holding and not find_entry(rec.stamps, STAMP, 0, holder)
    and not order_was_used(rec, order_key) then
    rec.stamps = drop_stamps(rec.stamps, order_key)
  end
  if #rec.stamps == before then return end
  rec.dirty = true
  changed = changed + 1
end

for i, address in ipairs(addresses) do
  local item = (i - 1) * ITEM + 1
  local rec = records[address]
  if rec then give_back(rec, sub(items, item + 8, item + 15), sub(items, item + 16, item + 23)) end
end
write_records(KEYS[1], records)
return changed
