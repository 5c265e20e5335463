-- Makes the projection that one install laid the tenant's current one.
--
-- KEYS[1]  tg:{tenant}:quota   (see quota_deduct.lua)
-- ARGV     1 epoch  2 install id
-- Reply    1 where that install was waiting for it, else 0
-- Called only for an install whose mark is committed in Postgres. Twice or late is harmless: another install, or none, is
-- left as it is. O(1).

if redis.call('HGET', KEYS[1], 'installing') ~= ARGV[1] .. ':' .. ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'installing')
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
return 1
