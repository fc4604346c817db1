-- Takes the place if it is free, ours already, and not a younger program's. ARGV[3]: the version of
-- the schema that is known. Answers the version that is there, or why it is none of ours.
local SEEN_MAX = 100000

local function is_free()
  local cursor, seen = '0', 0
  repeat
    local page = call('SCAN', cursor, 'MATCH', P .. '*', 'COUNT', 1000)
    if #page[2] > 0 then
      return false
    end
    cursor, seen = page[1], seen + 1000
  until cursor == '0' or seen >= SEEN_MAX
  return true
end

local schema = P .. 'schema'
local kind = call('TYPE', schema).ok
if kind == 'none' and is_free() then
  call('HSET', schema, 'application', 'flotilla', 'version', ARGV[3])
elseif kind ~= 'hash' or call('HGET', schema, 'application') ~= 'flotilla' then
  return 'foreign'
end
local version = call('HGET', schema, 'version')
if tonumber(version) == tonumber(ARGV[3]) then
  grant_grace()
end
return version
