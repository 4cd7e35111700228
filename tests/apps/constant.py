"""Answers /large with one block of 1 MB, the same for every request, reads a body if there is one, and is quick."""

BLOCK = bytes(1_000_000)


def application(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [BLOCK if environ["PATH_INFO"] == "/large" else b"quick\n"]
