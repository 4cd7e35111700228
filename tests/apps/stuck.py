"""Logs "inside" and stays in Python without an end for /stuck; otherwise answers at once."""

import time


def application(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        environ["wsgi.errors"].write("inside\n")
        environ["wsgi.errors"].flush()
        while True:
            time.sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"free\n"]
