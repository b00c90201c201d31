"""Scripts that Redis runs: each is one step for everybody else."""

from __future__ import annotations

from typing import Final

# KEYS: numbering, messages. ARGV: name of the run of Redis, epoch to use for a new numbering, seconds to keep.
# Another run may have restored an older state: its numbers would be given out twice under one epoch.
_NUMBERING = """
local found = redis.call('HMGET', KEYS[1], 'epoch', 'number', 'bytes', 'run')
local epoch, newest, bytes = found[1], tonumber(found[2] or 0), tonumber(found[3] or 0)
if not epoch or found[4] ~= ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
  epoch, newest, bytes = ARGV[2], 0, 0
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'number', newest, 'bytes', bytes, 'run', ARGV[1])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
"""

KEEP: Final = (
    """
if KEYS[3] then
  local note = redis.call('GET', KEYS[3])
  if note then
    return {note}
  end
end
"""
    + _NUMBERING
    + """
newest = newest + 1
local length = redis.call('RPUSH', KEYS[2], ARGV[4])
bytes = length > 1 and bytes + #ARGV[4] or #ARGV[4]
while length > 1 and (length > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6])) do
  bytes = bytes - #redis.call('LPOP', KEYS[2])
  length = length - 1
end
local number = string.format('%d', newest)
redis.call('HSET', KEYS[1], 'number', number, 'bytes', bytes)
if length == 1 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
if KEYS[3] then
  redis.call('SET', KEYS[3], ARGV[9], 'EX', ARGV[10])
end
redis.call('PUBLISH', ARGV[7], ARGV[8] .. epoch .. ' ' .. number .. ' ' .. ARGV[4])
return {epoch, number}
"""
)
"""Keep a message. More KEYS: its name, or none. More ARGV: the message, most messages, most bytes, channel, magic, the
note for the name, seconds for it. Returns the epoch and the number, or only the note of a name that was used before.
"""

SINCE: Final = (
    _NUMBERING
    + """
local number = string.format('%d', newest)
local missing = newest - tonumber(ARGV[5])
if ARGV[4] ~= epoch or missing <= 0 then
  return {epoch, number, {}}
end
return {epoch, number, redis.call('LRANGE', KEYS[2], string.format('%d', -missing), -1)}
"""
)
"""Read messages after a number. More ARGV: epoch and number. Returns the epoch, its newest number, and the messages."""
