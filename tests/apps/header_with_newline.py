"""Mistake: a header value with a line break, which would let a visitor write headers of his own."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Name", "a\r\nSet-Cookie: stolen=1")])
    return [b"text"]
