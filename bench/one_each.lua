-- Sends the requests of one file: the file holds one form body per line. Every thread takes its own share. When a
-- share is used up the thread stops, so no assertion is ever sent twice; with "again" it begins anew.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  bodies, at, again = {}, 0, args[4] == "again"
  local share, of = number, tonumber(args[2])
  local line_number = 0
  for line in io.lines(args[1]) do
    if line_number % of == share then bodies[#bodies + 1] = line end
    line_number = line_number + 1
  end
  headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  if args[3] and args[3] ~= "" then headers["Authorization"] = args[3] end
end

function request()
  at = at + 1
  if at >= #bodies then
    if again then at = 1 else wrk.thread:stop() end
  end
  return wrk.format("POST", nil, headers, bodies[at] or "")
end

function done(summary, latency, requests)
  local bad = summary.errors
  io.write(string.format("BENCH %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), bad.status, bad.connect + bad.read + bad.write + bad.timeout))
end
