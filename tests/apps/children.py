"""Runs processes of its own by forking: `/pool`, `/terminate`, `/orphan` (leaves one that lives until it is killed),
`/returns` and `/exits` (one that comes back from the request as its parent does)."""

import multiprocessing
import os
import signal
import sys

multiprocessing.set_start_method("fork")


def square(number):
    return number * number


def wait(started):
    started.set()
    signal.pause()


def child():
    started = multiprocessing.Event()
    process = multiprocessing.Process(target=wait, args=(started,))
    process.start()
    started.wait()
    return process


def answer(path):
    if path == "/pool":
        with multiprocessing.Pool(2) as pool:
            return str(pool.map(square, range(4)))
    if path == "/terminate":
        process = child()
        process.terminate()
        process.join(5)
        return str(process.exitcode)
    if path == "/orphan":
        return str(child().pid)
    if path in ("/returns", "/exits"):
        pid = os.fork()
        if pid == 0:
            if path == "/exits":
                sys.exit()
            return "the child"
        return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return str(os.getpid())


def application(environ, start_response):
    body = answer(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
