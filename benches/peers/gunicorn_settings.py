"""gunicorn's settings: threads, which its keep-alive needs; no access log, which is its default."""

worker_class = "gthread"
threads = 4
keepalive = 75
backlog = 4096
worker_connections = 8192
loglevel = "error"
