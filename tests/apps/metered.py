"""Answers /status/NNN with that status; /backtrack keeps the interpreter lock in C without an end; /exit raises SystemExit."""

import re


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/backtrack":
        environ["wsgi.errors"].write("inside\n")
        environ["wsgi.errors"].flush()
        re.match(r"(a+)+$", "a" * 40 + "b")
    if path == "/exit":
        raise SystemExit
    status = path.removeprefix("/status/") if path.startswith("/status/") else "200"
    start_response(status + " X", [("Content-Type", "text/plain")])
    return [b"measured"]
