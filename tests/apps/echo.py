"""Sends the request's body back, with its method and length in headers."""


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(len(body))),
        ("X-Method", environ["REQUEST_METHOD"]),
        ("X-Length", str(len(body))),
    ]
    start_response("200 OK", headers)
    return [body]
