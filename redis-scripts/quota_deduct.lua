-- Reserves one hold in every scope of a tenant, or refuses and changes nothing.
--
-- KEYS[1]  tg:{tenant}:quota   hash: epoch, posted, version, held, and per window (day, month): <w>_start, <w>_used and
--                              <w>_prev_start, <w>_prev_used (late give-backs still find the window before). While it is
--                              installed but not yet active it has `installing` instead of epoch (quota_install.lua).
-- KEYS[2]  tg:{tenant}:holds   hash: hold id -> amount|day_start|month_start|process|reserved_ms|before|day_used|month_used
-- ARGV     1 epoch  2 hold id  3 process id  4 amount  5 credit limit  6 daily quota ('' = none)  7 monthly quota
--          8 day start  9 day end = next start  10 next day's end  11..13 the same for the month  14 clock offset ms
--          15 not after (ms, this server's clock without the offset)
-- Reply    ADMITTED amount balance_before day_start month_start day_used month_used
--          REFUSED scope limit used resets_ms | COLD | EPOCH epoch_of_hash | DAMAGED | CLOCK now_ms | LATE now_ms
-- Money is integer nano-USD, exact in doubles up to 2^53 (bounded by API and database); it is answered as a string.
-- Idempotent by hold id: a resend is answered from the entry. Everything is checked before the first write.
-- LATE: this call was held up on its way until its caller had given it up. A hold made now would outlive the release that
-- followed it, and nobody would ever end it.
-- DAMAGED: a part of the projection is gone (a key deleted, a field missing), so nothing that is left can be trusted.
-- O(1): at most six commands whatever the tenant holds.

local function text(number)
  return string.format('%.0f', number)
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'posted', 'held',
  'day_start', 'day_used', 'day_prev_start', 'day_prev_used',
  'month_start', 'month_used', 'month_prev_start', 'month_prev_used', 'version')
if not state[1] then
  return { 'COLD' }
end
if state[1] ~= ARGV[1] then
  return { 'EPOCH', state[1] }
end
for i = 2, 12 do
  if not state[i] then
    return { 'DAMAGED' }
  end
end

local entry = redis.call('HGET', KEYS[2], ARGV[2])
if entry then
  local amount, day, month, before, day_used, month_used =
    string.match(entry, '^(%d+)|(%d+)|(%d+)|[^|]*|%d+|(-?%d+)|(%d+)|(%d+)$')
  return { 'ADMITTED', amount, before, day, month, day_used, month_used }
end
-- An empty hash does not exist, so money that is held without one is a lost key.
if state[3] ~= '0' and redis.call('EXISTS', KEYS[2]) == 0 then
  return { 'DAMAGED' }
end

local time = redis.call('TIME')
local server_now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if server_now > tonumber(ARGV[15]) then
  return { 'LATE', text(server_now) }
end
local now = server_now + tonumber(ARGV[14])

-- Which of the caller's two windows holds this instant; false where neither does.
local function pick(start, finish, next_finish)
  if now >= tonumber(start) and now < tonumber(finish) then
    return start, finish
  end
  if now >= tonumber(finish) and now < tonumber(next_finish) then
    return finish, next_finish
  end
  return false
end

local day, day_end = pick(ARGV[8], ARGV[9], ARGV[10])
local month, month_end = pick(ARGV[11], ARGV[12], ARGV[13])
if not day or not month then
  return { 'CLOCK', text(now) }
end

-- Requests counted in a window, from the four fields of that window that begin at state[at].
local function used_in(window, at)
  if state[at] == window then
    return tonumber(state[at + 1])
  end
  if state[at + 2] == window then
    return tonumber(state[at + 3])
  end
  return 0
end

local amount = tonumber(ARGV[4])
local credit = tonumber(ARGV[5])
local available = tonumber(state[2]) + credit - tonumber(state[3])
if amount > available then
  return { 'REFUSED', 'balance', ARGV[4], text(available), '' }
end
local day_used = used_in(day, 4)
if ARGV[6] ~= '' and day_used >= tonumber(ARGV[6]) then
  return { 'REFUSED', 'daily', ARGV[6], text(day_used), day_end }
end
local month_used = used_in(month, 8)
if ARGV[7] ~= '' and month_used >= tonumber(ARGV[7]) then
  return { 'REFUSED', 'monthly', ARGV[7], text(month_used), month_end }
end
day_used = day_used + 1
month_used = month_used + 1

local write = { 'held', text(tonumber(state[3]) + amount) }
local function count(name, window, at, used)
  if state[at] == window then
    write[#write + 1] = name .. '_used'
    write[#write + 1] = text(used)
  elseif state[at + 2] == window then
    write[#write + 1] = name .. '_prev_used'
    write[#write + 1] = text(used)
  else
    local roll = { '_prev_start', state[at] or '0', '_prev_used', state[at + 1] or '0', '_start', window, '_used', text(used) }
    for i = 1, #roll, 2 do
      write[#write + 1] = name .. roll[i]
      write[#write + 1] = roll[i + 1]
    end
  end
end
count('day', day, 4, day_used)
count('month', month, 8, month_used)

redis.call('HSET', KEYS[1], unpack(write))
redis.call('HSET', KEYS[2], ARGV[2], table.concat(
  { ARGV[4], day, month, ARGV[3], text(now), text(available), text(day_used), text(month_used) }, '|'))
return { 'ADMITTED', ARGV[4], text(available), day, month, text(day_used), text(month_used) }
