"""A class whose instances are the response (PEP 3333, "The Application/Framework Side")."""


class AppClass:
    def __init__(self, environ, start_response):
        self.environ = environ
        self.start = start_response

    def __iter__(self):
        self.start("200 OK", [("Content-Type", "text/plain")])
        yield b"Hello from a class\n"


application = AppClass
