"""Tells of each request what arrived, as JSON: method, length and SHA-256 of the body, and the client's port.

/large answers 32 MB in blocks; /abandoned is for bodies that never come whole and logs that it was called all the same.
"""

import hashlib
import json

BLOCK = bytes(64 * 1024)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/large":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (BLOCK for _ in range(500))
    if path == "/abandoned":
        environ["wsgi.errors"].write("half a body reached the application\n")
    digest, length = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(100_000):
        digest.update(block)
        length += len(block)
    seen = {
        "method": environ["REQUEST_METHOD"],
        "length": length,
        "sha256": digest.hexdigest(),
        "port": environ["REMOTE_PORT"],
    }
    answer = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
