"""A generator: start_response is called when the first block is asked for."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"Hello "
    yield b""
    yield b"from a generator\n"
