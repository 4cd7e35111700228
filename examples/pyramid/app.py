"""A Pyramid site made by a factory: a page, a form, a session, an upload, a streamed answer and error pages."""

from html import escape
from pathlib import Path

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.response import FileResponse, Response
from pyramid.session import JSONSerializer, SignedCookieSessionFactory
from pyramid.view import notfound_view_config, view_config


@view_config(route_name="index")
def index(request):
    name = escape(request.session.get("name", "stranger"))
    form = '<form method="post" action="/sign"><input name="name"><button>Sign</button></form>'
    return Response(f"<!doctype html><title>Guest book</title><h1>Hello, {name}!</h1>{form}")


@view_config(route_name="sign", request_method="POST")
def sign(request):
    request.session["name"] = request.POST["name"]
    raise HTTPSeeOther(request.route_path("index"))


@view_config(route_name="upload", request_method="POST", renderer="json")
def upload(request):
    file = request.POST["file"]
    return {"name": file.filename, "size": len(file.file.read())}


@view_config(route_name="stream")
def stream(request):
    return Response(app_iter=(b"line %d\n" % number for number in range(5)), content_type="text/plain")


@view_config(route_name="source")
def source(request):
    return FileResponse(Path(__file__), request=request, content_type="text/x-python")


@view_config(route_name="broken")
def broken(request):
    raise LookupError("this view is broken on purpose")


@notfound_view_config()
def missing(request):
    return Response(f"<h1>Nothing at {escape(request.path)}</h1>", status=404)


def main():
    secret = "only for this example"
    config = Configurator(session_factory=SignedCookieSessionFactory(secret, serializer=JSONSerializer()))
    config.add_route("index", "/")
    for name in ("sign", "upload", "stream", "source", "broken"):
        config.add_route(name, f"/{name}")
    config.scan(__name__)
    return config.make_wsgi_app()
