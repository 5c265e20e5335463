-- Takes away what is left of a tenant's projection that was found damaged: the tenant is cold.
--
-- KEYS[1]  tg:{tenant}:quota   KEYS[2]  tg:{tenant}:holds   (see quota_deduct.lua; here they may be of any type)
-- ARGV     1 epoch: the current one, in which nothing of the damaged projection counts any more
-- Reply    1, or 0 where the projection is of that epoch or a newer one: somebody has laid it anew
-- Twice or late is harmless. O(1): what was there is freed beside the commands that follow.

if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  local found = redis.call('HMGET', KEYS[1], 'epoch', 'installing')
  local epoch = string.match(found[1] or '', '^%d+$') or string.match(found[2] or '', '^(%d+):')
  if epoch and tonumber(epoch) >= tonumber(ARGV[1]) then
    return 0
  end
end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
