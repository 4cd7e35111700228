"""wsgiref.simple_server.demo_app: the environ, one line a key."""

from wsgiref.simple_server import demo_app as application  # noqa: F401
