"""Reads the body by every method of wsgi.input in turn and tells what came, as JSON."""

import json


def application(environ, start_response):
    stream = environ["wsgi.input"]
    answer = {
        "read(0)": stream.read(0).decode(),
        "read(3)": stream.read(3).decode(),
        "readline()": stream.readline().decode(),
        "readline(2)": stream.readline(2).decode(),
        "next": next(iter(stream)).decode(),
        "readlines": [line.decode() for line in stream.readlines()],
        "read() at the end": stream.read().decode(),
        "readline() at the end": stream.readline().decode(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
