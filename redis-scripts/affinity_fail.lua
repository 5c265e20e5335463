-- A call of a session failed, and no other upstream answered it.
--
-- KEYS[1]  tg:{tenant}:affinity:<digest>   (see affinity_choose.lua)
-- ARGV     1 upstream that failed  2 choice by which the call went  3 seconds that the failure is remembered
-- Reply    state before, state after   ('none' where there is no hash)
-- Only what is named fails, and only by the choice that stands: of an older one the session has moved on. Afterwards
-- nothing is named; who chooses next begins anew with another upstream, and after a while the failure is forgotten. O(1).

assert(#ARGV == 3 and ARGV[1] ~= '' and tonumber(ARGV[3]) > 0, 'affinity_fail: no failure')

local found = redis.pcall('HMGET', KEYS[1], 'state', 'upstream', 'choice', 'success_count')
local state, upstream, choice, count = found[1], found[2], found[3], tonumber(found[4])
local is_whole = upstream and choice and count
  and ((state == 'pending' and count == 0) or (state == 'active' and count > 0) or (state == 'failed' and count == 0))
if not is_whole then
  redis.call('DEL', KEYS[1])
  return { 'none', 'none' }
end

if state == 'failed' or upstream ~= ARGV[1] or choice ~= ARGV[2] then
  return { state, state }
end
redis.call('HSET', KEYS[1], 'state', 'failed', 'success_count', '0')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return { state, 'failed' }
