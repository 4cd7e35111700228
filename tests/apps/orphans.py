"""Leaves a process behind that has no parent any more and has ended: GET / answers with what ended it."""

import os


def application(environ, start_response):
    seen, held = os.pipe()
    child = os.fork()
    if child == 0:
        # Its child is the orphan; the pipe ends with it.
        if os.fork() == 0:
            os.close(seen)
        os._exit(7)
    os.close(held)
    status = os.waitpid(child, 0)[1]
    os.read(seen, 1)
    os.close(seen)
    body = str(os.waitstatus_to_exitcode(status)).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
