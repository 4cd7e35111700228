"""Sends blocks without an end; /five promises five bytes. Logs when close() is called."""


class Response:
    def __init__(self, errors):
        self.errors = errors

    def __iter__(self):
        while True:
            yield b"x" * 1000

    def close(self):
        self.errors.write("close() was called\n")


def application(environ, start_response):
    headers = [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/five":
        headers.append(("Content-Length", "5"))
    start_response("200 OK", headers)
    return Response(environ["wsgi.errors"])
