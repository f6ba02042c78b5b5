-- Sends one request over and over: arguments are the Authorization header, the method, and a file with the body or "".
function init(args)
  local headers, body = { ["Authorization"] = args[1] }, nil
  if args[3] and args[3] ~= "" then
    headers["Content-Type"] = "application/fhir+json"
    local file = io.open(args[3])
    body = file:read("*a")
    file:close()
  end
  one = wrk.format(args[2], nil, headers, body)
end

function request()
  return one
end

function done(summary, latency, requests)
  local bad = summary.errors
  io.write(string.format("BENCH %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), bad.status, bad.connect + bad.read + bad.write + bad.timeout))
end
