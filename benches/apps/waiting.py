"""Requests that wait: /sleep/MILLISECONDS sleeps, every other path answers at once."""

import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/sleep/"):
        time.sleep(int(path[7:]) / 1000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]
