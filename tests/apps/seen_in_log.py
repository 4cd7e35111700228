"""Logs "called" with the path and answers."""


def application(environ, start_response):
    environ["wsgi.errors"].write(f"called {environ['PATH_INFO']}\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok\n"]
