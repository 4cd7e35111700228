"""Registers an atexit handler that must run when the worker stops gracefully."""

import atexit
import sys

atexit.register(lambda: print("the atexit handler ran", file=sys.stderr, flush=True))


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
