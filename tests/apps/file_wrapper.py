"""Sends the file named by the query through wsgi.file_wrapper.

/rest starts in the middle of it, /stringio sends an object that is no real file, /length sets Content-Length.
"""

import io
import os


class Stringly(io.BytesIO):
    """A file-like object without fileno; says when it was closed."""

    def __init__(self, content, errors):
        super().__init__(content)
        self.errors = errors

    def close(self):
        self.errors.write("the file-like object was closed\n")
        super().close()


def application(environ, start_response):
    path, name = environ["PATH_INFO"], environ["QUERY_STRING"]
    headers = [("Content-Type", "application/octet-stream")]
    file = open(name, "rb")
    if path == "/rest":
        file.seek(1000)
    elif path == "/stringio":
        with file:
            content = file.read()
        file = Stringly(content, environ["wsgi.errors"])
    elif path == "/length":
        headers.append(("Content-Length", str(os.path.getsize(name))))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](file, 8192)
