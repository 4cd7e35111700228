"""Mistake: returns str, as on Python 2."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return "text"
