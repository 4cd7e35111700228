"""Ends the interpreter while it is imported, as manage.py scripts do."""

import sys

sys.exit("usage: import_exits.py COMMAND")
