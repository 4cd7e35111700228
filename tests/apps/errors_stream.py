"""Writes to wsgi.errors, to logging and to sys.stderr."""

import logging
import sys

logging.basicConfig(format="%(levelname)s by logging: %(message)s")


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("by write\n")
    errors.writelines(["by ", "writelines\n"])
    print("by print", file=errors)
    errors.flush()
    logging.warning("careful")
    print("by sys.stderr", file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["rwsgi.request_id"].encode()]
