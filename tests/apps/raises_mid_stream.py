"""Raises after the first block was sent: the client must see that the answer is cut."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first block\n"
    raise LookupError("the second block is missing")
