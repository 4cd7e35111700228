-- wrk: every request uploads a megabyte.
wrk.method = "POST"
wrk.body = string.rep("x", 1000000)
