"""Runs an application in bjoern. Usage: serve_bjoern.py PORT MODULE"""

import importlib
import sys

import bjoern

bjoern.run(importlib.import_module(sys.argv[2]).application, "127.0.0.1", int(sys.argv[1]), listen_backlog=4096)
