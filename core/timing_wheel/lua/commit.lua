#!lua flags=
-- Purpose: apply a batch of events to their contacts: evidence, stops, tombstone, plans.
--   Once per (contact, event key); a repetition changes nothing and answers as the first time.
-- KEYS[1] meta hash           KEYS[2] counters hash     KEYS[3] contacts hash
-- KEYS[4] details hash        KEYS[5] bodies hash       KEYS[6] slots zset
-- KEYS[7] near zset           KEYS[8] outcomes string of today
-- KEYS[9] timers hash         KEYS[10] timer-dues zset   KEYS[11] consents hash
-- KEYS[12...] slot zsets, in the order that plans name by index from 0
-- ARGV[1] now, epoch ms       ARGV[2] slot width, ms    ARGV[3] number of commits, <= 128
-- ARGV[4...] for each commit: head, body, then detail for each plan. Head:
--   contact key 8, event key 8, disposition B, is_primary B, event time I6, tombstone order 8,
--   tombstone type H, consents B, stops B, 37 plans H, lines of history B, 40 guards H, timers H, fires
--   B, facts B, stamps B; fires: timer id 8, due I6; consents as `consent_log.lua` draws lines; stamps 18
--   each; stops: order key 8,
--   reason B, kinds B (and 128 with a comment), channel H (0: all), rules H, rule numbers I4 each; facts:
--   key 8; history 17 each and guards 26 each as `history.lua` draws them; timers 38 each; plans as `birth.lua` draws them
-- Returns: one string; for each commit: is_duplicate B, disposition B, plans H, stopped H,
--   then 17 bytes a plan (sequence I6, state B, reason B, lane B, due I6, channel H), then
--   sequence I6 of each invitation that was stopped
-- Atomicity: everything about the contacts of one partition, or nothing. No error after a write.
-- Cost: O(commits + references of their contacts)
-- @include record
-- @include ../../antispam/lua/consent
-- @include ../../antispam/lua/consent_log
-- @include birth
-- @include timers
-- @include history
-- @bound CONTACT_FACTS_BYTES_MAX
local DELIVERED, REVIEWED, NO_MATCH, REFUSED = 4, 41, 2, 5
local BY_HAND, FLAG_STOPPED = '\0\0\0\0', 8
local now_ms, width, commits = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now6 = six(now_ms)
local dispositions = {}

-- A review of an order that was asked about (B37): counted once for each run.
local function count_review(rec, at, kinds)
  local state, flags = byte(rec.refs, at + 6), byte(rec.refs, at + 13)
  if state ~= SENT and state ~= DELIVERED or flags % 4 >= 2 or flags % 8 >= 4 then return end
  local rule = unpack_('<I4', rec.refs, at + 16)
  rec.refs = sub(rec.refs, 1, at + 12) .. char(flags + 4) .. sub(rec.refs, at + 14)
  count_rule(rule, 3)
  if kinds >= 128 then count_rule(rule, 4) end
end

-- What the stop would have ended, had it not failed or been cancelled by a client before, stays so (R44).
local function forbid_return(rec, at)
  local flags = byte(rec.refs, at + 13)
  if flags % (2 * FLAG_STOPPED) >= FLAG_STOPPED then return end
  rec.refs = sub(rec.refs, 1, at + 12) .. char(flags + FLAG_STOPPED) .. sub(rec.refs, at + 14)
end

local function is_meant(refs, at, numbers, kinds)
  local asked = byte(refs, at + 71)
  return find_entry(numbers, 4, 0, sub(refs, at + 16, at + 19))
    and ((asked == 0 and sub(refs, at + 16, at + 19) ~= BY_HAND) or (asked % 2 == 1 and kinds % 2 == 1) or (asked >= 2 and kinds % 4 >= 2))
end

local function stop_refs(rec, contact, head, at, out, stopped)
  local order_key = sub(head, at, at + 7)
  local reason, kinds, channel, rules = unpack_('<BBHH', head, at + 8)
  local first, from = at + 14, sub(head, at + 10, at + 11)
  local last = first + rules * 4 - 1
  local numbers = sub(head, first, last)
  for ref = 1, #rec.refs, REF do
    if (order_key == NO_KEY or sub(rec.refs, ref + 48, ref + 55) == order_key)
      and (channel == 0 or sub(rec.refs, ref + 14, ref + 15) == from)
      and is_meant(rec.refs, ref, numbers, kinds) then
      local state, why = byte(rec.refs, ref + 6, ref + 7)
      if may_return(state, why) then
        forbid_return(rec, ref)
      elseif state == SCHEDULED then
        stopped[#stopped + 1] = sub(rec.refs, ref, ref + 5)
        end_ref(rec, contact, ref, CANCELLED, reason, now_ms, out)
      elseif state == IN_FLIGHT then
        -- It may arrive; it is not tried again, and has no next step.
        if why == 0 then rec.refs = sub(rec.refs, 1, ref + 6) .. char(reason) .. sub(rec.refs, ref + 8) end
      elseif reason == REVIEWED then
        count_review(rec, ref, kinds)
      end
    end
  end
  stop_timers(out, contact, order_key, numbers, channel, unpack_('<I6', head, 19))
  return last + 1
end

-- Keeps what the event tells for those that wait already with this order key, or for all that wait.
local function keep_facts(rec, contact, head, key, body, out)
  if not has_kept(rec, key ~= NO_KEY and key or nil) then return end
  local facts = out.facts[contact] or redis.call('HGET', KEYS[5], contact .. FACTS) or ''
  facts = facts .. key .. sub(head, 19, 24) .. pack('<I4', #body) .. body
  while #facts > CONTACT_FACTS_BYTES_MAX do facts = sub(facts, 19 + unpack_('<I4', facts, 15)) end
  out.facts[contact] = facts
end

local function add_tombstone(rec, head)
  local entry = sub(head, 25, 34)
  if sub(entry, 1, 8) == NO_KEY then return end
  if not find_entry(rec.tombstones, TOMBSTONE, 0, entry) then
    rec.tombstones = rec.tombstones .. entry .. sub(head, 19, 24)
  end
end

-- What the first time has caused, in its present state.
local function answer_again(rec, event_key, seen)
  local parts, plans = {}, 0
  local ref = find_entry(rec.refs, REF, 40, event_key)
  while ref do
    local sequence, state, reason = unpack_('<I6BB', rec.refs, ref)
    local channel = unpack_('<H', rec.refs, ref + 14)
    local due = unpack_('<I6', rec.refs, ref + 20)
    parts[#parts + 1] = pack('<I6BBBI6H', sequence, state, reason, FAR, due, channel)
    plans = plans + 1
    ref = find_entry(rec.refs, REF, 40, event_key, ref + REF)
  end
  return pack('<BBHH', 1, byte(rec.events, seen + 8), plans, 0) .. table.concat(parts)
end

-- Facts, history and timers of a commit; `at` is where they begin. Returns where they end, and the rules
-- that do not fire, by their four bytes.
local function note_more(rec, contact, head, at, body, out)
  local lines, guards, timers, _, facts = unpack_('<BHHBB', head, 39)
  local closed, is_new = nil, false
  if facts == 1 then
    keep_facts(rec, contact, head, sub(head, at, at + 7), body, out)
    at = at + 8
  end
  for _ = 1, lines do
    is_new = note_history(rec, head, at) or is_new
    at = at + HISTORY
  end
  for _ = 1, guards do
    if not (is_new and guard_fires(rec, head, at)) then
      closed = closed or {}
      closed[sub(head, at, at + 3)] = true
    end
    at = at + 26
  end
  for _ = 1, timers do
    set_timer(out, contact, head, at, body)
    at = at + 38
  end
  if timers > 0 then keep_newest_timers(out, contact) end
  return at, closed
end

-- The plans of a commit, but those of closed rules. Returns how many were born.
local function give_births(rec, contact, head, at, plans, closed, body, arg, out, answers)
  local first, waits, born = six(rec.next), false, 0
  for i = 0, plans - 1 do
    if not (closed and closed[sub(head, at + 7, at + 10)]) then
      local ref, state = give_birth(rec, contact, head, at, ARGV[arg + i], first, nil, now_ms, out,
        answers, true)
      rec.refs = rec.refs .. ref
      waits = waits or state == SCHEDULED
      born = born + 1
    end
    at = at + PLAN + STOP_WIDTH * byte(head, at + PLAN - 1)
  end
  if waits then
    local kept = out.kept
    local n = #kept
    kept[n + 1] = contact .. reverse(first)
    kept[n + 2] = body
  end
  return born
end

-- True if the timer that causes this commit stands where it says; it is gone then.
local function timer_fires(contact, head, at, out)
  local held = timers_of(out, contact)
  local i = find_timer(held, sub(head, at, at + 7))
  if not i or sub(held[i], 21, 26) ~= sub(head, at + 8, at + 13) then return false end
  drop_timer(out, contact, held, i)
  return true
end

-- Counts a send that another contact has had: once per ledger and tag, in the order of the times (R4).
local function add_stamp(rec, stamp)
  local stamps = rec.stamps
  if find_entry(stamps, STAMP, 0, sub(stamp, 1, 12)) then return end
  local last, time = #stamps, unpack_('<I6', stamp, 13)
  while last > 0 and unpack_('<I6', stamps, last - 5) > time do last = last - STAMP end
  rec.stamps = sub(stamps, 1, last) .. stamp .. sub(stamps, last + 1)
end

-- True if the event is of the time before the contact was erased (R22).
local function is_refused(rec, contact, head, fires, primary, out)
  local erased = erase_ms(rec.consents)
  if erased < 0 or unpack_('<I6', head, 19) > erased then return false end
  if primary == 1 then dispositions[REFUSED] = (dispositions[REFUSED] or 0) + 1 end
  if fires == 1 then timer_fires(contact, head, 47, out) end
  return true
end

local function apply(rec, contact, head, body, arg, out, answers)
  local disposition, primary = byte(head, 17, 18)
  local kind_low, kind_high, consents, stops, few, many, lines, guards, more_guards, timers,
    more_timers, fires, facts, stamps = byte(head, 33, 46)
  local plans = few + many * 256
  if rec.consents ~= '' and is_refused(rec, contact, head, fires, primary, out) then
    answers[#answers + 1] = char(0, REFUSED, 0, 0, 0, 0)
    return
  end
  local seen = rec.events ~= '' and find_entry(rec.events, SEEN, 0, sub(head, 9, 16))
  if seen then
    if primary == 1 then count('e:4', 1) end
    -- Set again where it ran out before, it would stand there for ever.
    if fires == 1 then timer_fires(contact, head, 47, out) end
    answers[#answers + 1] = answer_again(rec, sub(head, 9, 16), seen)
    return
  end
  local at, stopped, stopped_count = 47, nil, 0
  if fires == 1 then
    if not timer_fires(contact, head, at, out) then
      answers[#answers + 1] = char(1, NO_MATCH, 0, 0, 0, 0)
      return
    end
    at = at + 14
  end
  rec.dirty = true
  for _ = 1, consents do
    local _
    _, at = add_consent_line(rec, contact, head, at)
  end
  for _ = 1, stamps do
    add_stamp(rec, sub(head, at, at + STAMP - 1))
    at = at + STAMP
  end
  if stops > 0 then
    stopped = {}
    for _ = 1, stops do at = stop_refs(rec, contact, head, at, out, stopped) end
    stopped_count = #stopped
  end
  if kind_low + kind_high > 0 then add_tombstone(rec, head) end
  local closed
  if lines + guards + more_guards + timers + more_timers + facts > 0 then
    at, closed = note_more(rec, contact, head, at, body, out)
  end
  local place, born = #answers + 1, 0
  answers[place] = ''
  if plans > 0 then
    born = give_births(rec, contact, head, at, plans, closed, body, arg, out, answers)
    if born == 0 then disposition = NO_MATCH end
  end
  rec.events = rec.events .. sub(head, 9, 16) .. char(disposition) .. now6
  answers[place] = char(0, disposition, born % 256, math.floor(born / 256), stopped_count % 256,
    math.floor(stopped_count / 256))
  if stopped then answers[#answers + 1] = table.concat(stopped) end
  if primary == 1 then dispositions[disposition] = (dispositions[disposition] or 0) + 1 end
end

local function plans_of(head)
  local few, many = byte(head, 37, 38)
  return few + many * 256
end

local arg, contacts, records, n = 4, {}, {}, 0
for _ = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 1, 8)
  if records[contact] == nil then
    records[contact] = false
    n = n + 1
    contacts[n] = contact
  end
  arg = arg + 2 + plans_of(head)
end
open_records(KEYS[3], contacts, records)
local out = {
  near = {}, slots = {}, details = {}, lines = {}, bodies = {}, kept = {}, facts = {},
  loaded = loaded_until(KEYS[1]),
  timers_key = KEYS[9], timers = {}, timers_dirty = {}, timers_gone = {}, timers_set = {},
}
local answers = {}
arg = 4
for _ = 1, commits do
  local head = ARGV[arg]
  local contact = sub(head, 1, 8)
  local rec = records[contact]
  if not rec then
    rec = new_record()
    records[contact] = rec
  end
  apply(rec, contact, head, ARGV[arg + 1], arg + 2, out, answers)
  arg = arg + 2 + plans_of(head)
end
for disposition, times in pairs(dispositions) do count('e:' .. disposition, times) end
write_records(KEYS[3], records)
write_births(out, KEYS[4], KEYS[6], KEYS[7], KEYS[1], 12, width)
write_consent_log(KEYS[11])
call_in_pieces('HSET', KEYS[5], out.kept)
write_ends(KEYS[5], KEYS[8], out)
for contact, facts in pairs(out.facts) do
  if facts ~= '' and not facts_trimmed[contact] then redis.call('HSET', KEYS[5], contact .. FACTS, facts) end
end
if write_timers(out, KEYS[10]) then redis.call('HINCRBY', KEYS[1], 'near_version', 1) end
write_counts(KEYS[2])
return table.concat(answers)
