"""Raises on every request."""


def application(environ, start_response):
    raise LookupError("the shelf is empty")
