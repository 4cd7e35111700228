"""The environ as JSON: strings, numbers, booleans and tuples as they are, anything else by its type's name."""

import json


def plain(value):
    if type(value) in (str, int, float, bool, tuple, type(None)):
        return value
    return f"<{type(value).__name__}>"


def application(environ, start_response):
    assert type(environ) is dict
    body = json.dumps({key: plain(value) for key, value in environ.items()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
