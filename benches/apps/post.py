"""post: the body that was received, sent back."""


def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", environ["CONTENT_TYPE"]), ("Content-Length", str(len(body)))])
    return [body]
