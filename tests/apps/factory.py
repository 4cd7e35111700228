"""No callable of its own: factories that make one."""


def create_app(greeting="hello", *, loud=False):
    text = greeting.upper() if loud else greeting

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return app


class Site:
    wsgi_app = staticmethod(create_app("from an attribute"))


site = Site()
not_callable = 42
