"""Kills its own worker with SIGKILL for /crash; otherwise answers with the worker's pid."""

import os
import signal


def application(environ, start_response):
    if environ["PATH_INFO"] == "/crash":
        os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
