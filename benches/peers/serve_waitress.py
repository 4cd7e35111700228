"""Runs an application in waitress. Usage: serve_waitress.py PORT MODULE"""

import importlib
import sys

import waitress

waitress.serve(
    importlib.import_module(sys.argv[2]).application,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    threads=4,
    backlog=4096,
    connection_limit=8192,
    channel_timeout=75,
    asyncore_use_poll=True,
    ident="waitress",
)
