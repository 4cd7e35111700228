"""Sends each byte value and every kind of line end, unchanged in name, case and order of its headers."""


def application(environ, start_response):
    headers = [("Content-Type", "application/octet-stream"), ("x-CaSe", "\xe9 \xff"), ("X-Last", "")]
    start_response("200 Caf\xe9", headers)
    return [bytes(range(256)), b"\r\n\n\r", b"end"]
