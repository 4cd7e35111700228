"""stream: fifty blocks of one kilobyte from a generator, without a length.

/slow yields ten blocks, 20 ms apart, each beginning with the instant at which it was yielded, so that a client on the
same machine sees how long a block was held back.
"""

import time

BLOCK = b"0123456789abcdef" * 64
BLOCKS = 50
SLOW_BLOCKS = 10
SLOW_PAUSE = 0.02


def fast():
    for _ in range(BLOCKS):
        yield BLOCK


def slow():
    for _ in range(SLOW_BLOCKS):
        yield b"%020d" % time.monotonic_ns() + BLOCK[20:]
        time.sleep(SLOW_PAUSE)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return slow() if environ["PATH_INFO"] == "/slow" else fast()
