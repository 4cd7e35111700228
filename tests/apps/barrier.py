"""Answers only when as many requests are inside at once as the query says."""

import threading

barriers = {}
lock = threading.Lock()


def application(environ, start_response):
    parties = int(environ["QUERY_STRING"])
    with lock:
        barrier = barriers.setdefault(parties, threading.Barrier(parties))
    try:
        barrier.wait(timeout=8)
    except threading.BrokenBarrierError:
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"alone\n"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [threading.current_thread().name.encode()]
