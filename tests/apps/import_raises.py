"""Raises while it is imported."""

raise RuntimeError("the database settings are missing")
