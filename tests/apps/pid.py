"""Answers with the worker's pid, its parent's, and its generation, as JSON."""

import json
import os


def application(environ, start_response):
    answer = {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "generation": environ.get("rwsgi.generation"),
        "worker": environ.get("rwsgi.worker"),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "cwd": os.getcwd(),
        "umask": os.umask(0o22),
    }
    os.umask(answer["umask"])
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
