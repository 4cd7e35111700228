"""Sends a file through wsgi.file_wrapper: the query is KIND:OFFSET:LENGTH:NAME.

KIND is file or bytesio; LENGTH is the Content-Length, or empty for none.
"""

import io


def application(environ, start_response):
    kind, offset, length, name = environ["QUERY_STRING"].split(":")
    file = open(name, "rb")
    if kind == "bytesio":
        with file:
            file = io.BytesIO(file.read())
    file.seek(int(offset))
    headers = [("Content-Type", "application/octet-stream")]
    if length:
        headers.append(("Content-Length", length))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](file, 1000)
