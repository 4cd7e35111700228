"""A worker in which one thread of the application computes all the time, as a background job would."""

import threading


def compute():
    number = 0
    while True:
        number = (number * 1103515245 + 12345) % 2147483648


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]


threading.Thread(target=compute, daemon=True).start()
