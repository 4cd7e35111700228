"""A web.py site: a page, a form, a cookie, an upload, a streamed answer, a redirect and error pages."""

import web

URLS = (
    "/", "Index",
    "/sign", "Sign",
    "/upload", "Upload",
    "/stream", "Stream",
    "/broken", "Broken",
)  # fmt: skip


class Index:
    def GET(self):
        web.header("Content-Type", "text/html; charset=utf-8")
        name = web.websafe(web.cookies().get("name", "stranger"))
        form = '<form method="post" action="/sign"><input name="name"><button>Sign</button></form>'
        return f"<!doctype html><title>Guest book</title><h1>Hello, {name}!</h1>{form}"


class Sign:
    def POST(self):
        web.setcookie("name", web.input().name, httponly=True)
        raise web.seeother("/")


class Upload:
    def POST(self):
        file = web.input(file={})["file"]
        return f"{file.filename}: {len(file.file.read())} bytes\n"


class Stream:
    def GET(self):
        web.header("Content-Type", "text/plain")
        for number in range(5):
            yield f"line {number}\n"


class Broken:
    def GET(self):
        raise LookupError("this page is broken on purpose")


web.config.debug = False
application = web.application(URLS, globals()).wsgifunc()
