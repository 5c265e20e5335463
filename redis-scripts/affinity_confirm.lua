-- A call of a session ended well: the upstream that answered it.
--
-- KEYS[1]  tg:{tenant}:affinity:<digest>   (see affinity_choose.lua)
-- ARGV     1 upstream that answered  2 choice by which the call went  3 id of a naming, never used before
--          4 seconds that the session stands without another success
-- Reply    state before, state after, upstream, success_count   (what is there now; 'none', '' and '0' where nothing is)
-- The upstream that is named counts one more, whichever choice its call went by: all at once add up. Another upstream, to
-- which the call failed over, is named in its place only if the call's choice is still the one that stands; an older
-- choice's word changes nothing. Nor does a late success of what failed. Where nothing is named (any more) the upstream is.
-- O(1).

assert(#ARGV == 4 and ARGV[1] ~= '' and ARGV[3] ~= '' and tonumber(ARGV[4]) > 0, 'affinity_confirm: no success')

local found = redis.pcall('HMGET', KEYS[1], 'state', 'upstream', 'choice', 'success_count')
local state, upstream, choice, count = found[1], found[2], found[3], tonumber(found[4])
local is_whole = upstream and choice and count
  and ((state == 'pending' and count == 0) or (state == 'active' and count > 0) or (state == 'failed' and count == 0))
if not is_whole then
  redis.call('DEL', KEYS[1])
  state = 'none'
end

if upstream == ARGV[1] and (state == 'pending' or state == 'active') then
  count = redis.call('HINCRBY', KEYS[1], 'success_count', 1)
  redis.call('HSET', KEYS[1], 'state', 'active')
elseif state == 'none' or (choice == ARGV[2] and upstream ~= ARGV[1]) then
  upstream, count = ARGV[1], 1
  redis.call('HSET', KEYS[1], 'state', 'active', 'upstream', upstream, 'choice', ARGV[3], 'success_count', '1')
else
  return { state, state, upstream, string.format('%.0f', count) }
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return { state, 'active', upstream, string.format('%.0f', count) }
