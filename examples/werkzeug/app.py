"""A site of Werkzeug's parts: routes, a form, a signed-in cookie, an upload, a streamed answer and error pages."""

from markupsafe import escape
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

ROUTES = Map(
    [
        Rule("/", endpoint="index", methods=["GET"]),
        Rule("/sign", endpoint="sign", methods=["POST"]),
        Rule("/upload", endpoint="upload", methods=["POST"]),
        Rule("/stream", endpoint="stream", methods=["GET"]),
        Rule("/broken", endpoint="broken", methods=["GET"]),
    ]
)


def index(request):
    name = escape(request.cookies.get("name", "stranger"))
    form = '<form method="post" action="/sign"><input name="name"><button>Sign</button></form>'
    return Response(f"<!doctype html><title>Guest book</title><h1>Hello, {name}!</h1>{form}", mimetype="text/html")


def sign(request):
    response = redirect("/", code=303)
    response.set_cookie("name", request.form["name"], httponly=True, samesite="Lax")
    return response


def upload(request):
    file = request.files["file"]
    return Response(f"{file.filename}: {len(file.read())} bytes\n")


def stream(request):
    return Response(f"line {number}\n" for number in range(5))


def broken(request):
    raise LookupError("this view is broken on purpose")


VIEWS = {"index": index, "sign": sign, "upload": upload, "stream": stream, "broken": broken}


@Request.application
def application(request):
    try:
        endpoint, values = ROUTES.bind_to_environ(request.environ).match()
        return VIEWS[endpoint](request, **values)
    except HTTPException as error:
        return error
