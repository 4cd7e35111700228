"""Mistake: returns a list of str."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["text"]
