"""Mistake: a hop-by-hop header, which belongs to the server (PEP 3333, "Other HTTP Features")."""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [b"text"]
