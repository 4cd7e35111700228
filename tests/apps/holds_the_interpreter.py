"""Keeps the interpreter lock in C without an end for /backtrack; otherwise answers with the worker's pid."""

import os
import re


def application(environ, start_response):
    if environ["PATH_INFO"] == "/backtrack":
        re.match(r"(a+)+$", "a" * 40 + "b")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
