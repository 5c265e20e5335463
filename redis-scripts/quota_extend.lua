-- Raises an open hold to a larger amount, or refuses and changes nothing.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua)
-- ARGV     1 epoch  2 hold id  3 amount it shall have  4 credit limit  5 not after (ms, this server's clock)
--          6.. two a scope that counts nano-USD: counter, limit
-- Reply    EXTENDED amount | REFUSED place limit used resets_ms (place: 0 the balance, else the scope's place in ARGV)
--          GONE (no such hold) | EPOCH epoch_of_hash | LATE now_ms
-- Idempotent: a hold that has the amount already is left as it is. The windows are those frozen in the hold; one that has
-- passed limits nothing any more. O(scopes).

local state = redis.call('HMGET', KEYS[1], 'epoch', 'posted', 'held')
if state[1] ~= ARGV[1] then
  return { 'EPOCH', state[1] or '0' }
end
local entry = redis.call('HGET', KEYS[2], ARGV[2])
if not entry then
  return { 'GONE' }
end
local time = redis.call('TIME')
local server_now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if server_now > tonumber(ARGV[5]) then
  return { 'LATE', string.format('%.0f', server_now) }
end

local function text(number)
  return string.format('%.0f', number)
end

local amount, funding, middle, scopes = string.match(entry, '^(%d+)|(%a+)|(%d+|[^|]*|%d+|%-?%d+)|(.*)$')
local delta = tonumber(ARGV[3]) - tonumber(amount)
if delta <= 0 then
  return { 'EXTENDED', amount }
end
local available = tonumber(state[2]) + tonumber(ARGV[4]) - tonumber(state[3])
if funding == 'wallet' and delta > available then
  return { 'REFUSED', '0', text(delta), text(available), '' }
end

local places = {}
for i = 6, #ARGV, 2 do
  places[ARGV[i]] = i
end
local write = {}
for kind, counter, measure, start in string.gmatch(scopes, '(%a),([^,]+),(%a),(%d+),') do
  if kind == 'w' and measure == 'u' then
    local field = 'c:' .. counter
    local now_start, finish, used = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%d+):(%d+):(-?%d+)$')
    if now_start == start then
      local place = places[counter]
      local after = tonumber(used) + delta
      if place and after > tonumber(ARGV[place + 1]) then
        return { 'REFUSED', text((place - 6) / 2 + 1), ARGV[place + 1], used, finish ~= '0' and finish or '' }
      end
      write[#write + 1] = field
      write[#write + 1] = start .. ':' .. finish .. ':' .. text(after)
    end
  end
end
if funding == 'wallet' then
  write[#write + 1] = 'held'
  write[#write + 1] = text(tonumber(state[3]) + delta)
end
if #write > 0 then
  redis.call('HSET', KEYS[1], unpack(write))
end
redis.call('HSET', KEYS[2], ARGV[2], table.concat({ ARGV[3], funding, middle, scopes }, '|'))
return { 'EXTENDED', ARGV[3] }
