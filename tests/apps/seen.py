"""Appends what each request said to a file in the directory $SEEN, one line of JSON a request, and answers nothing.

Each worker writes a file of its own. Bytes are written in hexadecimal, strings of the environ as they are.
"""

import json
import os

log = open(os.path.join(os.environ["SEEN"], str(os.getpid())), "a", buffering=1)


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = {key: value for key, value in environ.items() if type(value) is str}
    seen["body"] = body.hex()
    log.write(json.dumps(seen) + "\n")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []
