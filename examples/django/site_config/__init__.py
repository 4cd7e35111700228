"""The project: settings, routes and the WSGI application."""
