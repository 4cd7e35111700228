"""Its response logs when close() is called; /raise raises while it is iterated."""


class Response:
    def __init__(self, environ):
        self.errors = environ["wsgi.errors"]
        self.fails = environ["PATH_INFO"] == "/raise"
        self.calls = 0

    def __iter__(self):
        yield b"body\n"
        if self.fails:
            raise LookupError("in the middle")

    def close(self):
        self.calls += 1
        self.errors.write(f"close() call {self.calls}\n")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Response(environ)
