-- What wrk sends beyond its command line, and its figures as one line of JSON.
--
-- BENCH_BODY names a file whose content is sent as the body of a POST. There is no request() or response() here: with
-- them wrk would run Lua for every request, and the load would become the bottleneck.

local body = os.getenv("BENCH_BODY")
if body then
    local file = assert(io.open(body, "rb"))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    file:close()
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        'RESULT {"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "status_errors": %d, "socket_errors": %d}',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
