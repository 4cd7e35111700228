"""Mistake: a header whose value is a number."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", 4)])
    return [b"text"]
