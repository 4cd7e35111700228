"""Reads its body in the way that the path names, and logs how that went.

/gate    logs "inside", waits until the file named by the query exists, then reads all
/part    reads five bytes
/none    reads nothing
/lines   answers every line as it comes, in upper case
/all     reads all; an exception is logged and raised on
"""

import os
import time


def application(environ, start_response):
    path, stream, errors = environ["PATH_INFO"], environ["wsgi.input"], environ["wsgi.errors"]
    if path == "/gate":
        errors.write("inside\n")
        errors.flush()
        while not os.path.exists(environ["QUERY_STRING"]):
            time.sleep(0.01)
    text = "OK"
    if path == "/part":
        text = stream.read(5).decode()
    elif path in ("/gate", "/all"):
        try:
            text = str(len(stream.read()))
        except Exception as error:
            errors.write(f"read() raised {type(error).__name__}\n")
            errors.flush()
            raise
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/lines":
        return (line.upper() for line in stream)
    return [text.encode()]
