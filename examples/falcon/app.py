"""A Falcon service: JSON, a form, a cookie, an upload, a streamed answer, a redirect and error answers."""

from urllib.parse import quote, unquote

import falcon

PEOPLE = {1: "Ada", 2: "Grace"}


class Index:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.text = f"Hello, {unquote(request.cookies.get('name', 'stranger'))}!"


class Person:
    def on_get(self, request, response, number):
        if number not in PEOPLE:
            raise falcon.HTTPNotFound(title="Nobody there", description=f"there is no person {number}")
        response.media = {"number": number, "name": PEOPLE[number]}


class Sign:
    def on_post(self, request, response):
        # A cookie holds ASCII only (RFC 6265 section 4.1.1).
        response.set_cookie("name", quote(request.get_media()["name"]), secure=False)
        response.status = falcon.HTTP_303
        response.location = "/"


class Upload:
    def on_post(self, request, response):
        sizes = {part.name: len(part.stream.read()) for part in request.get_media()}
        response.media = {"sizes": sizes}


class Stream:
    def on_get(self, request, response):
        response.content_type = falcon.MEDIA_TEXT
        response.stream = (b"line %d\n" % number for number in range(5))


class Broken:
    def on_get(self, request, response):
        raise LookupError("this resource is broken on purpose")


application = falcon.App()
application.add_route("/", Index())
application.add_route("/people/{number:int}", Person())
application.add_route("/sign", Sign())
application.add_route("/upload", Upload())
application.add_route("/stream", Stream())
application.add_route("/broken", Broken())
