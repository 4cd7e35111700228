"""Counts how many requests are inside at once; answers with the highest count that was ever seen."""

import threading
import time

lock = threading.Lock()
inside = highest = 0


def application(environ, start_response):
    global inside, highest
    with lock:
        inside += 1
        highest = max(highest, inside)
    time.sleep(0.005)
    with lock:
        inside -= 1
        answer = highest
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]
