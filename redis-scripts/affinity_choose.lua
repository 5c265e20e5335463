-- Which upstream a call of a session asks first.
--
-- KEYS[1]  tg:{tenant}:affinity:<digest of session, model and region>   hash, all fields or none:
--              state          pending (named, no call answered yet) | active | failed
--              upstream       the one that is named; of failed: the one that failed
--              choice         id of the naming: what reports refer to
--              success_count  calls that the upstream answered since it was named
-- ARGV     1 id of this call's own naming, never used before  2 seconds that a naming stands without a success
--          3.. upstreams this call may ask, in the order in which it would ask them; at least one
-- Reply    state before, state after, upstream, choice   ('none' where there is no hash)
-- What is named is kept while this call may ask it, and is not prolonged by being asked. Else the first that is not the one
-- that failed is named: whoever comes at the same time follows. A hash that nobody here can have written counts as none.
-- O(upstreams): their number is that of one model.

local FIRST = 3
assert(#ARGV >= FIRST, 'affinity_choose: no upstream to choose from')
assert(ARGV[1] ~= '' and tonumber(ARGV[2]) > 0, 'affinity_choose: no naming')

local found = redis.pcall('HMGET', KEYS[1], 'state', 'upstream', 'choice', 'success_count')
local state, upstream, choice, count = found[1], found[2], found[3], tonumber(found[4])
local is_whole = upstream and choice and count
  and ((state == 'pending' and count == 0) or (state == 'active' and count > 0) or (state == 'failed' and count == 0))
if not is_whole then
  redis.call('DEL', KEYS[1])
  state = 'none'
end

local first
for i = FIRST, #ARGV do
  if ARGV[i] == upstream and (state == 'pending' or state == 'active') then
    return { state, state, upstream, choice }
  end
  if not first and not (state == 'failed' and ARGV[i] == upstream) then
    first = ARGV[i]
  end
end
first = first or ARGV[FIRST]

redis.call('HSET', KEYS[1], 'state', 'pending', 'upstream', first, 'choice', ARGV[1], 'success_count', '0')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return { state, 'pending', first, ARGV[1] }
