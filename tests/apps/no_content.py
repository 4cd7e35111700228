"""Answers with the status in the path (/204, /304 or another) and, wrongly, always with a body."""


def application(environ, start_response):
    start_response(environ["PATH_INFO"][1:] + " Whatever", [("ETag", '"1"')])
    return [b"this body must not be sent with 204 and 304"]
