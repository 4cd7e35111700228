"""Runs an application in granian, with its WSGI interface and one Python thread.

Usage: serve_granian.py PORT MODULE WORKERS
"""

import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces

if __name__ == "__main__":
    Granian(
        target=f"{sys.argv[2]}:application",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=int(sys.argv[3]),
        blocking_threads=1,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        backpressure=8192,
        log_enabled=False,
    ).serve()
