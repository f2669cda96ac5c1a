"""What Redis does for ``layer=core`` in one step: Lua, with the clock of Redis.

In each list (a sorted set, by the time of sending) the messages of one process wait, or those of a channel without a
process's name.
"""

_PUT = """
local now = redis.call('TIME')
local at = now[1] .. '.' .. string.format('%06d', now[2])
local content, expiry = ARGV[1], tonumber(ARGV[2])

local function put(list, value)
    local capacity = tonumber(string.find(list, '!', 1, true) and ARGV[4] or ARGV[3])
    redis.call('ZREMRANGEBYSCORE', list, 0, now[1] - expiry)
    if redis.call('ZCARD', list) >= capacity then
        return 1
    end
    redis.call('ZADD', list, at, value)
    redis.call('EXPIRE', list, expiry)
    return 0
end
"""

SEND = f"""{_PUT}
return put(KEYS[1], content)
"""
"""KEYS: a list. ARGV: the message, seconds until it expires, the capacity of a channel, and that of a process. Returns
how many lists were full."""

SEND_TO_GROUP = f"""{_PUT}
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now[1] - tonumber(ARGV[5]))
local lists, channels = {{}}, {{}}
for _, channel in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local mark = string.find(channel, '!', 1, true)
    local list = ARGV[6] .. (mark and string.sub(channel, 1, mark) or channel)
    if not channels[list] then
        channels[list] = {{}}
        lists[#lists + 1] = list
    end
    table.insert(channels[list], channel)
end
local full = 0
for _, list in ipairs(lists) do
    full = full + put(list, content .. cmsgpack.pack(channels[list]))
end
return full
"""
"""KEYS: a group. ARGV: as SEND has it, the message without the value of its last key, which the script adds; then the
seconds until a membership ends, and the prefix of lists. Returns how many lists were full."""

JOIN = """
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
"""KEYS: a group. ARGV: a channel, and the seconds until its membership ends."""
