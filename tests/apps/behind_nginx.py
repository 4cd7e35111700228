"""Tells what came through the proxy, and streams a block that is followed only when another request asks for it."""

import json
import threading

go_on = threading.Event()


def stream():
    yield b"first\r\n"
    go_on.wait()
    yield b"second\r\n"


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
        return stream()
    if path == "/go-on":
        go_on.set()
    if path == "/maintenance":
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"the application's own"]
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
