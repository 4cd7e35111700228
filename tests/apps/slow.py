"""Logs "inside", then waits until the file named by the query exists, then answers with the worker's pid.

Without a query it answers at once.
"""

import os
import time


def application(environ, start_response):
    gate = environ["QUERY_STRING"]
    if gate:
        environ["wsgi.errors"].write("inside\n")
        environ["wsgi.errors"].flush()
        while not os.path.exists(gate):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
