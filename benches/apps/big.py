"""big: one hundred kilobytes in one block."""

BODY = bytes(range(32, 132)) * 1024


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(BODY)))])
    return [BODY]
