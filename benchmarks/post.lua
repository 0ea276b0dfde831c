-- wrk's script: POST one body, under a thousand units in turn, so that a split has something to split.
-- Environment: BODY (a file), CONTENT_TYPE, JSON_LENGTH (of a binary body, else "").
local UNITS_N = 1000
local requests, sent_n = {}, 0

function init()
  local file = assert(io.open(os.getenv("BODY"), "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["content-type"] = os.getenv("CONTENT_TYPE")
  if os.getenv("JSON_LENGTH") ~= "" then
    wrk.headers["inference-header-content-length"] = os.getenv("JSON_LENGTH")
  end
  for unit = 1, UNITS_N do -- formatted ahead: the load generator must stay cheaper than what it loads
    wrk.headers["x-turnout-unit"] = "account-" .. unit
    requests[unit] = wrk.format()
  end
end

function request()
  sent_n = sent_n % UNITS_N + 1
  return requests[sent_n]
end
