"""What the interpreter of the worker looks like from inside, as JSON."""

import json
import os
import sys
import threading


def application(environ, start_response):
    answer = {
        "version": "%d.%d" % sys.version_info[:2],
        "executable": sys.executable,
        "prefix": sys.prefix,
        "path": sys.path,
        "argv": sys.argv,
        "thread": threading.current_thread().name,
        "environment": dict(os.environ),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
