"""Runs an application in FastWSGI. Usage: serve_fastwsgi.py PORT MODULE WORKERS"""

import importlib
import sys

import fastwsgi

fastwsgi.server.backlog = 4096
fastwsgi.server.tcp_nodelay = 1
fastwsgi.server.loglevel = fastwsgi.LL_CRIT_ERROR
fastwsgi.run(importlib.import_module(sys.argv[2]).application, "127.0.0.1", int(sys.argv[1]), workers=int(sys.argv[3]))
