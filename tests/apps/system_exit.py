"""Calls sys.exit() for /exit; otherwise answers with the worker's pid."""

import os
import sys


def application(environ, start_response):
    if environ["PATH_INFO"] == "/exit":
        sys.exit("the application had enough")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
