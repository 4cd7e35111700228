"""Sends the status and one header, given as JSON by the query (percent-encoded): [status, name, value]."""

import json
from urllib.parse import unquote


def application(environ, start_response):
    status, name, value = json.loads(unquote(environ["QUERY_STRING"]))
    start_response(status, [("Content-Type", "text/plain"), (name, value)])
    return [b"sent\n"]
