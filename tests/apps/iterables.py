"""Unusual but correct responses, one for each path."""


class OfOne:
    """One block, and says so by its length (PEP 3333, "Handling the Content-Length Header")."""

    def __len__(self):
        return 1

    def __iter__(self):
        yield b"just one block\n"


class Late:
    """Calls start_response only when it is iterated."""

    def __init__(self, start_response):
        self.start_response = start_response

    def __iter__(self):
        self.start_response("202 Accepted", [("Content-Type", "text/plain")])
        yield b""
        yield b"late\n"


def blocks(*values):
    yield from values


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/late":
        return Late(start_response)
    if path == "/never":
        return blocks(b"no head\n")
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/written":
        write(b"all was ")
        write(b"written\n")
        return []
    return {
        "/one": OfOne(),
        "/empty": blocks(),
        "/empty-list": [],
        "/empty-blocks": blocks(b"", b"", b""),
        "/empty-between": blocks(b"", b"a", b"", b"b", b""),
        "/empty-in-list": [b"", b"a", b"", b"b", b""],
    }[path]
