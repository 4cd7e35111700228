"""The site of the chaos suite: answers with what it was asked, and misbehaves in the way that the path names.

Each answer is one line: the token of the query, the worker's pid, the version of the code, and the length of the body
that was read; a body of the request follows as it came.

/fifo?PATH       logs "inside", blocks until somebody writes to the fifo
/sleep           sleeps for ever in one call
/spin            spins in Python
/spin_in_c       spins in C and never lets go of the interpreter lock
/deadlock        waits for a lock that nobody will release, in one call
/patient         waits for an event that never comes, a little at a time
/leak            keeps a mebibyte

The environment variable CHAOS_IMPORT_FIFO names a fifo on which the import blocks, once the file exists.
"""

import os
import re
import threading
import time

VERSION = "1"

KEPT = []


def waits_for_the_fifo(path):
    with open(path) as fifo:
        fifo.read()


def sleeps_for_ever():
    time.sleep(1_000_000)


def spins_in_python():
    count = 0
    while True:
        count += 1


def spins_in_c():
    re.match(r"(a+)+$", "a" * 60 + "b")


def deadlocks():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def waits_for_an_event():
    event = threading.Event()
    while not event.wait(0.05):
        pass


STUCK = {
    "/sleep": sleeps_for_ever,
    "/spin": spins_in_python,
    "/spin_in_c": spins_in_c,
    "/deadlock": deadlocks,
    "/patient": waits_for_an_event,
}

if os.path.exists(os.environ.get("CHAOS_IMPORT_FIFO", "/nowhere")):
    waits_for_the_fifo(os.environ["CHAOS_IMPORT_FIFO"])


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = environ["wsgi.input"].read()
    if path in STUCK or path == "/fifo":
        environ["wsgi.errors"].write(f"inside {path} in {os.getpid()}\n")
        environ["wsgi.errors"].flush()
        if path == "/fifo":
            waits_for_the_fifo(query)
        else:
            STUCK[path]()
    if path == "/leak":
        KEPT.append(bytearray(os.urandom(4096) * 256))
    line = f"{query} {os.getpid()} {VERSION} {len(body)}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(line) + len(body)))]
    start_response("200 OK", headers)
    return [line + body]
