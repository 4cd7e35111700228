"""Waits until the client is gone, by rwsgi.client_disconnected(), and logs it."""

import time


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("inside\n")
    errors.flush()
    deadline = time.monotonic() + 10
    while not environ["rwsgi.client_disconnected"]():
        if time.monotonic() > deadline:
            errors.write("the client is still there\n")
            break
        time.sleep(0.01)
    else:
        errors.write("the client has gone\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"too late\n"]
