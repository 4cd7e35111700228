"""Leaves a thread, a listening socket and a connection behind when it is imported."""

import socket
import threading

listener = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listener.getsockname())
threading.Thread(target=threading.Event().wait, name="metrics-exporter", daemon=True).start()


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = sorted(thread.name for thread in threading.enumerate())
    return [", ".join(names).encode()]
