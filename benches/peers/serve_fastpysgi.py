"""Runs an application in FastPySGI. Usage: serve_fastpysgi.py PORT MODULE WORKERS"""

import importlib
import sys

import fastpysgi

fastpysgi.server.backlog = 4096
fastpysgi.server.tcp_nodelay = 1
fastpysgi.server.loglevel = fastpysgi.LL_CRIT_ERROR
fastpysgi.run(importlib.import_module(sys.argv[2]).application, "127.0.0.1", int(sys.argv[1]), workers=int(sys.argv[3]))
