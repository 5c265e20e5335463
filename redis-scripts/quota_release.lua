-- Ends holds whose charge is voided: the money is free again and the request is given back to the windows that counted it.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     hold ids
-- Reply    number of holds that were open
-- Give-backs go to the window frozen in the entry; a window that is two or more back has no counter any more. An unknown
-- hold changes nothing, so twice or late is harmless. A cold tenant stays cold: its named holds go, and there is nothing
-- to correct. Nor is a field made that is gone: by its absence quota_deduct.lua knows the damage. O(holds named).

local function lower(field, amount)
  if redis.call('HEXISTS', KEYS[1], field) == 1 then
    redis.call('HINCRBY', KEYS[1], field, '-' .. amount)
  end
end

local ended = 0
for i = 1, #ARGV do
  local entry = redis.call('HGET', KEYS[2], ARGV[i])
  if entry then
    redis.call('HDEL', KEYS[2], ARGV[i])
    local amount, day, month = string.match(entry, '^(%d+)|(%d+)|(%d+)|')
    lower('held', amount)
    for name, start in pairs({ day = day, month = month }) do
      local at = redis.call('HMGET', KEYS[1], name .. '_start', name .. '_prev_start')
      if at[1] == start then
        lower(name .. '_used', 1)
      elseif at[2] == start then
        lower(name .. '_prev_used', 1)
      end
    end
    ended = ended + 1
  end
end
return ended
