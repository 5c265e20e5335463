-- Reserves one hold in every scope of a tenant, or refuses and changes nothing.
--
-- KEYS[1]  tg:{tenant}:quota   hash: epoch, posted, version, held, open (holds), counters (how many), and per counter
--                              c:<name> = start:end:used of its newest window. While it is installed but not yet active it has
--                              `installing` instead of epoch (quota_install.lua).
-- KEYS[2]  tg:{tenant}:holds   hash: hold id -> amount|funding|tokens|process|reserved_ms|before|scopes, where scopes are
--                              kind,counter,measure,start,end,used joined by ; (kind w: window, r: rolling)
--          tg:{tenant}:rate:<counter>  hash a rolling counter, named from KEYS[1] and so in its slot: at (newest second),
--                              sum of the 60 seconds up to it, and 0..59 = what second s (s mod 60) has. It expires.
-- ARGV     1 epoch  2 hold id  3 process id  4 amount  5 tokens  6 credit limit  7 funding: wallet | subscription
--          8 clock offset ms  9 not after (ms, this server's clock without the offset)  10 '1': a dry run, nothing is written
--          11.. seven a scope: kind, counter, measure (r requests, u nano-USD, t tokens), limit, a, b, c
--               kind c calendar: a start, b end = next start, c next end      a free allowance: as c, and never refuses
--                    f from first use: a duration ms     l lifetime     r the last 60 seconds     o open holds
-- Reply    ADMITTED entry | REFUSED scope limit used resets_ms (scope: 0 the balance, else the scope's place in ARGV)
--          COLD | EPOCH epoch_of_hash | DAMAGED | UNKNOWN now_ms counter... | CLOCK now_ms | LATE now_ms
-- Money is integer nano-USD, exact in doubles up to 2^53 (bounded by API and database); it is answered as a string.
-- Idempotent by hold id: a resend is answered from the entry. Everything is checked before the first write.
-- LATE: this call was held up on its way until its caller had given it up. A hold made now would outlive the release that
-- followed it, and nobody would ever end it.
-- UNKNOWN: counters this projection has not met; the caller reads them from Postgres (quota_learn.lua).
-- DAMAGED: a part of the projection is gone (a key deleted, a field missing), so nothing that is left can be trusted.
-- O(scopes): their number is bounded, whatever the tenant holds.

local FIRST_SCOPE, PER_SCOPE = 11, 7
local FIELDS = 6
local SECONDS = 60

local function text(number)
  return string.format('%.0f', number)
end

local names = { 'epoch', 'posted', 'held', 'version', 'counters', 'open' }
local field_of = {}
for i = FIRST_SCOPE, #ARGV, PER_SCOPE do
  local kind = ARGV[i]
  if kind ~= 'r' and kind ~= 'o' then
    names[#names + 1] = 'c:' .. ARGV[i + 1]
    field_of[i] = #names
  end
end

local state = redis.call('HMGET', KEYS[1], unpack(names))
if not state[1] then
  return { 'COLD' }
end
if state[1] ~= ARGV[1] then
  return { 'EPOCH', state[1] }
end
for i = 2, FIELDS do
  if not state[i] then
    return { 'DAMAGED' }
  end
end
if redis.call('HLEN', KEYS[1]) ~= FIELDS + tonumber(state[5]) then
  return { 'DAMAGED' }
end

local entry = redis.call('HGET', KEYS[2], ARGV[2])
if entry then
  return { 'ADMITTED', entry }
end
local open = redis.call('HLEN', KEYS[2])
if open ~= tonumber(state[6]) then
  return { 'DAMAGED' }
end

local time = redis.call('TIME')
local server_now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if server_now > tonumber(ARGV[9]) then
  return { 'LATE', text(server_now) }
end
local now = server_now + tonumber(ARGV[8])

local unknown = {}
for i = FIRST_SCOPE, #ARGV, PER_SCOPE do
  if field_of[i] and not state[field_of[i]] then
    unknown[#unknown + 1] = ARGV[i + 1]
  end
end
if #unknown > 0 then
  return { 'UNKNOWN', text(now), unpack(unknown) }
end

local second = math.floor(now / 1000)

local needs = { r = 1, u = tonumber(ARGV[4]), t = tonumber(ARGV[5]) }

-- A calendar window never goes back: where the clock was set back, or the zone changed, the newest one goes on.
local function calendar(i, start, finish)
  local first, last = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  if now >= last and now < tonumber(ARGV[i + 6]) then
    first, last = last, tonumber(ARGV[i + 6])
  elseif now < first or now >= last then
    return nil
  end
  if start > first then
    return start, finish
  end
  return first, last
end

-- A window in which everything was given back has not begun. None begins before the newest one, where the clock was set
-- back: Postgres counts no charge in a window that another one has followed.
local function from_first_use(i, start, finish, used)
  if now < finish and (used > 0 or now < start) then
    return start, finish
  end
  return now, now + tonumber(ARGV[i + 4])
end

-- A rolling counter as it is in this second: the seconds that have left since it was last written are subtracted. One that
-- cannot be read begins anew: nothing else depends on it. So does one that the clock was set back from by its whole length,
-- or its newest second would take in what comes until then, and nothing leave.
local function rolling(counter)
  local key = string.gsub(KEYS[1], 'quota$', 'rate:') .. counter
  local found = redis.pcall('HMGET', key, 'at', 'sum', tostring(second % SECONDS))
  local at, sum, count = tonumber(found[1]), tonumber(found[2]), found[3]
  if not at or not sum or math.abs(second - at) >= SECONDS then
    return { key = key, at = second, sum = 0, count = 0, starts = true }
  end
  if at >= second then
    if at > second then
      count = redis.call('HGET', key, tostring(at % SECONDS))
    end
    return { key = key, at = at, sum = sum, count = tonumber(count) or 0 }
  end
  sum = sum - (tonumber(count) or 0)
  local left = {}
  for s = at + 1, second - 1 do
    left[#left + 1] = tostring(s % SECONDS)
  end
  if #left > 0 then
    for _, gone in ipairs(redis.call('HMGET', key, unpack(left))) do
      sum = sum - (tonumber(gone) or 0)
    end
  end
  return { key = key, at = second, sum = sum, count = 0, left = left }
end

-- When so much has left a rolling counter that this hold fits; '' where it never does.
local function fits_at(rate, need, limit)
  if need > limit or rate.starts then
    return ''
  end
  local sum = rate.sum
  for s = rate.at - SECONDS + 1, rate.at do
    sum = sum - (tonumber(redis.call('HGET', rate.key, tostring(s % SECONDS))) or 0)
    if sum + need <= limit then
      return text((s + SECONDS) * 1000)
    end
  end
  return ''
end

local funding = ARGV[7]
local refusal
local counted, fields, rates = {}, {}, {}

local function count_window(i, kind, counter, measure, limit)
  local need = needs[measure]
  local start, finish, used = string.match(state[field_of[i]], '^(%d+):(%d+):(-?%d+)$')
  start, finish, used = tonumber(start), tonumber(finish), tonumber(used)
  if not start then
    return 'DAMAGED'
  end
  local first, last = 0, 0
  if kind == 'c' or kind == 'a' then
    first, last = calendar(i, start, finish)
    if not first then
      return 'CLOCK'
    end
  elseif kind == 'f' then
    first, last = from_first_use(i, start, finish, used)
  end
  if first ~= start then
    used = 0
  end
  if used + need > limit then
    if kind ~= 'a' then
      refusal = refusal or { 'REFUSED', text((i - FIRST_SCOPE) / PER_SCOPE + 1), ARGV[i + 3], text(used), last > 0 and need <= limit and text(last) or '' }
    end
    return
  end
  if kind == 'a' then
    funding = 'allowance'
  end
  fields[#fields + 1] = 'c:' .. counter
  fields[#fields + 1] = text(first) .. ':' .. text(last) .. ':' .. text(used + need)
  counted[#counted + 1] = table.concat({ 'w', counter, measure, text(first), text(last), text(used + need) }, ',')
end

local function count_rolling(i, counter, measure, limit)
  local need = needs[measure]
  local rate = rolling(counter)
  if rate.sum + need > limit then
    refusal = refusal or { 'REFUSED', text((i - FIRST_SCOPE) / PER_SCOPE + 1), ARGV[i + 3], text(rate.sum), fits_at(rate, need, limit) }
    return
  end
  rate.need = need
  rates[#rates + 1] = rate
  counted[#counted + 1] = table.concat({ 'r', counter, measure, text(rate.at * 1000), '0', text(rate.sum + need) }, ',')
end

for i = FIRST_SCOPE, #ARGV, PER_SCOPE do
  local kind, counter, measure, limit = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if kind == 'r' then
    count_rolling(i, counter, measure, limit)
  elseif kind == 'o' then
    if open + 1 > limit then
      refusal = refusal or { 'REFUSED', text((i - FIRST_SCOPE) / PER_SCOPE + 1), ARGV[i + 3], text(open), '' }
    end
  else
    local trouble = count_window(i, kind, counter, measure, limit)
    if trouble then
      return { trouble, text(now) }
    end
  end
end

local available = tonumber(state[2]) + tonumber(ARGV[6]) - tonumber(state[3])
-- A hold of nothing needs no cover, also where the tenant is in debt: a free call, or one that shadow mode lets pass.
if funding == 'wallet' and needs.u > 0 and needs.u > available then
  return { 'REFUSED', '0', ARGV[4], text(available), '' }
end
if refusal then
  return refusal
end

entry = table.concat({ ARGV[4], funding, ARGV[5], ARGV[3], text(now), text(available), table.concat(counted, ';') }, '|')
if ARGV[10] == '1' then
  return { 'ADMITTED', entry }
end

if funding == 'wallet' then
  fields[#fields + 1] = 'held'
  fields[#fields + 1] = text(tonumber(state[3]) + needs.u)
end
fields[#fields + 1] = 'open'
fields[#fields + 1] = text(open + 1)
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('HSET', KEYS[2], ARGV[2], entry)
for _, rate in ipairs(rates) do
  if rate.starts then
    redis.call('DEL', rate.key)
  elseif rate.left and #rate.left > 0 then
    redis.call('HDEL', rate.key, unpack(rate.left))
  end
  redis.call('HSET', rate.key, tostring(rate.at % SECONDS), text(rate.count + rate.need), 'at', text(rate.at), 'sum', text(rate.sum + rate.need))
  -- Of a second that has been written it stands for long enough.
  if rate.starts or rate.left then
    redis.call('EXPIRE', rate.key, 2 * SECONDS)
  end
end
return { 'ADMITTED', entry }
