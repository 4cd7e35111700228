"""Greets whoever PATH_INFO names."""


def application(environ, start_response):
    name = environ["PATH_INFO"][1:] or "World"
    body = f"Hello, {name}!\n".encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
