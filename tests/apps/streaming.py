"""Yields three blocks; before each but the first it waits until the file named by the query exists.

The first block must reach the client while the application still waits: blocks are not delayed
(PEP 3333, "Buffering and Streaming").
"""

import os
import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one\n"
    while not os.path.exists(environ["QUERY_STRING"]):
        time.sleep(0.01)
    yield b"two\n"
    yield b"three\n"
