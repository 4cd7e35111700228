"""Answers with as many bytes as the query says: /list as one block, /blocks in blocks of 64 KiB.

Byte n of the body is n // 1000 % 251, so that a lost, doubled or displaced part shows.
"""

BLOCK = 64 * 1024


def pattern(size):
    cycle = b"".join(bytes([value]) * 1000 for value in range(251))
    return (cycle * (size // len(cycle) + 1))[:size]


def application(environ, start_response):
    size = int(environ["QUERY_STRING"])
    body = pattern(size)
    headers = [("Content-Type", "application/octet-stream")]
    if environ["PATH_INFO"] == "/list":
        start_response("200 OK", headers)
        return [body]
    start_response("200 OK", headers)
    return (body[start : start + BLOCK] for start in range(0, size, BLOCK))
