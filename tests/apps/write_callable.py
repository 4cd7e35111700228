"""Uses the write() callable that start_response returns, then returns more."""


def application(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    write(b"")
    return [b"and returned\n"]
