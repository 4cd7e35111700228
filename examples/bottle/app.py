"""A Bottle site: a page, a form, a signed cookie, an upload, a streamed answer, a file and error pages."""

from pathlib import Path

from bottle import Bottle, redirect, request, response, static_file, template

application = Bottle()
SECRET = "only for this example"
PAGE = """<!doctype html><title>Guest book</title><h1>Hello, {{name}}!</h1>
<form method="post" action="/sign"><input name="name"><button>Sign</button></form>"""


@application.get("/")
def index():
    return template(PAGE, name=request.get_cookie("name", secret=SECRET) or "stranger")


@application.post("/sign")
def sign():
    response.set_cookie("name", request.forms.name, secret=SECRET, httponly=True)
    redirect("/", 303)


@application.post("/upload")
def upload():
    file = request.files.get("file")
    return {"name": file.filename, "size": len(file.file.read())}


@application.get("/stream")
def stream():
    response.content_type = "text/plain"
    for number in range(5):
        yield f"line {number}\n"


@application.get("/source")
def source():
    return static_file("app.py", root=str(Path(__file__).parent), mimetype="text/x-python")


@application.get("/broken")
def broken():
    raise LookupError("this view is broken on purpose")


@application.error(404)
def missing(error):
    return template("<h1>Nothing at {{path}}</h1>", path=request.path)
