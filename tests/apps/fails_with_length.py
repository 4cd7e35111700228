"""Announces ten bytes, sends five by the way named in the path, and raises: /write or /yield; /first raises at once."""


def body(environ):
    if environ["PATH_INFO"] == "/first":
        raise LookupError("before the first block")
    if environ["PATH_INFO"] == "/yield":
        yield b"12345"
    raise LookupError("after five bytes")


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    if environ["PATH_INFO"] == "/write":
        write(b"12345")
    return body(environ)
