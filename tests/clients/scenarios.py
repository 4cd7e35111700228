"""What every client of this folder does: the uploads, the checks, and the loop over the scenarios.

A script is run with the URL of a server of tests/apps/measure.py. It prints the name of each scenario that went well and
ends with an exception at the first that did not.
"""

import hashlib
import sys

URL = sys.argv[1].rstrip("/")
UPLOAD = bytes(range(256)) * 40_000  # 10 MB


class Abandoned(Exception):
    """Raised by a body to give it up in the middle."""


def pieces(body):
    """The body in pieces of odd sizes, for a chunked upload."""
    start, size = 0, 1
    while start < len(body):
        yield body[start : start + size]
        start, size = start + size, size * 3 % 99_991 + 1


def half(body):
    """Some of the body, then an exception."""
    yield body[: len(body) // 2]
    raise Abandoned


def check(answer, method, body):
    """The server saw this method and this body."""
    wanted = (method, len(body), hashlib.sha256(body).hexdigest())
    seen = (answer["method"], answer["length"], answer["sha256"])
    assert seen == wanted, f"{seen} instead of {wanted}"


def run(*scenarios):
    """Runs the scenarios in turn."""
    for scenario in scenarios:
        scenario()
        print(scenario.__name__)
