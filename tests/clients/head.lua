-- wrk: every request is HEAD.
wrk.method = "HEAD"
