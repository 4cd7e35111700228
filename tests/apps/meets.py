"""Reads the body, connects to the port that the query names, and answers when it hears from there."""

import socket


def application(environ, start_response):
    environ["wsgi.input"].read()
    with socket.create_connection(("127.0.0.1", int(environ["QUERY_STRING"]))) as connection:
        connection.recv(1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"met"]
