"""Replaces its response by an error page with exc_info, before (/early) or after (/late) a block was sent."""

import sys


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/late":
        yield b"sent\n"
    try:
        raise LookupError("the shelf is empty")
    except LookupError:
        start_response("503 Service Unavailable", [("Content-Type", "text/html")], sys.exc_info())
    yield b"<h1>sorry</h1>"
