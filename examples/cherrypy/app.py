"""A CherryPy tree: a page, a form, a session, an upload, a streamed answer and error pages."""

from html import escape

import cherrypy


class Site:
    @cherrypy.expose
    def index(self):
        name = escape(cherrypy.session.get("name", "stranger"))
        form = '<form method="post" action="/sign"><input name="name"><button>Sign</button></form>'
        return f"<!doctype html><title>Guest book</title><h1>Hello, {name}!</h1>{form}"

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    def sign(self, name):
        cherrypy.session["name"] = name
        raise cherrypy.HTTPRedirect("/", 303)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def upload(self, file):
        return {"name": file.filename, "size": len(file.file.read())}

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self):
        cherrypy.response.headers["Content-Type"] = "text/plain"
        return (f"line {number}\n" for number in range(5))

    @cherrypy.expose
    def broken(self):
        raise LookupError("this page is broken on purpose")


# rwsgi owns the sockets and the signals, so CherryPy's own engine stays off.
cherrypy.config.update({"environment": "embedded", "log.screen": False})
application = cherrypy.tree.mount(Site(), "/", {"/": {"tools.sessions.on": True}})
