#!lua flags=
-- Purpose: write documents of the registry, if nobody has written since the writer read them, keep the
--   answer under the operation's id, and note in the account's log what was changed.
-- KEYS[1] aw:{registry}:meta, hash: field "revision", absent before the first write
-- KEYS[2] aw:{registry}:operation:<id>, string; not touched if ARGV[2] is 0
-- KEYS[3] aw:{registry}:audit:<account>, stream: field "line"; not touched if ARGV[6] is 0
-- KEYS[4..] aw:{registry}:documents:<kind>, hash: resource key -> JSON; each kind at most once
-- ARGV[1] expected revision
-- ARGV[2] how long the answer is kept, ms; 0: the operation has no id
-- ARGV[3] the answer
-- ARGV[4] how many lines the log may have
-- ARGV[5] id of the oldest line that the log may have
-- ARGV[6] how many lines to append
-- ARGV[7..] the lines; then three for each change: index into KEYS, 4 or more; resource key; JSON, ''
--   to remove
-- Returns: the new revision; -1 if the revision is not the expected one; -2 if an operation with this
--   id was written before. Below 0 nothing has changed.
-- Atomicity: all changes, the revision, the answer and the lines in one step; both checks stand before
--   it.
-- Cost: O(changes + lines dropped).
local call = redis.call
if (call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[1] then
  return -1
end
if ARGV[2] ~= '0' and call('EXISTS', KEYS[2]) == 1 then
  return -2
end
local changes_from = 7 + tonumber(ARGV[6])
for at = changes_from, #ARGV, 3 do
  local documents = KEYS[tonumber(ARGV[at])]
  if ARGV[at + 2] == '' then
    call('HDEL', documents, ARGV[at + 1])
  else
    call('HSET', documents, ARGV[at + 1], ARGV[at + 2])
  end
end
if ARGV[2] ~= '0' then
  call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
end
for at = 7, changes_from - 1 do
  call('XADD', KEYS[3], 'MAXLEN', '=', ARGV[4], '*', 'line', ARGV[at])
end
if changes_from > 7 then
  call('XTRIM', KEYS[3], 'MINID', '=', ARGV[5])
end
return call('HINCRBY', KEYS[1], 'revision', 1)
