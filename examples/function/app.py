"""The first application of every WSGI tutorial: a function that returns a list of bytes."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!\n"]
