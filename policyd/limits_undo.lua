-- SPDX-License-Identifier: BSD-2-Clause
--
-- Takes back what limits.lua charged under a token, when another slot of a Cluster refused
-- or did not answer. Any number of times: the token remembers. Where the charge has not
-- come yet it will find the token, and charge nothing.
--
-- KEYS and ARGV as of limits.lua. Members of sets stay: who else saw them since cannot be
-- told. Returns the token's value, now "U...".

local call, read, pack = redis.call, struct.unpack, struct.pack
local count = #ARGV - 1
local token = KEYS[count + 1]
local found = call('GET', token) or 'U'

-- The start of the bucket that was charged, as limits.lua worked it out then.
local function charged_bucket(now, stored, window)
	local start = now - now % window
	if stored > start + window then
		stored = start
	end
	return start > stored and start or stored
end

local function undo(key, life, charged, window, amount)
	local value = call('GET', key)
	if not value or #value ~= 24 then
		return
	end
	local start, current, previous = read('<ddd', value)
	if start == charged then
		current = current > amount and current - amount or 0
	elseif start == charged + window then
		previous = previous > amount and previous - amount or 0
	else
		return
	end
	call('SET', key, pack('<ddd', start, current, previous), 'PX', life)
end

if found == 'F' .. string.sub(found, 2, 10 + 25 * count) .. ARGV[1] then
	local now, at = read('<d', found, 2), 1
	for i = 1, count do
		local window, amount, _, flags
		window, amount, _, flags, _, at = read('<dddBBc0', ARGV[1], at)
		if flags < 2 then
			local stored = read('<d', found, 12 + 25 * (i - 1))
			undo(KEYS[i], ARGV[i + 1], charged_bucket(now, stored, window), window, amount)
		end
	end
end
found = 'U' .. string.sub(found, 2)
call('SET', token, found, 'PX', '900000')
return found
