"""A small Flask site: a page, a form, a session, an upload, a streamed answer, a file and error pages."""

import os
from pathlib import Path

from flask import Flask, abort, flash, get_flashed_messages, redirect, render_template_string, request, send_file
from flask import session, url_for

app = Flask(__name__)
# A secret of your own belongs here; without it the sessions end with the process.
app.secret_key = os.environ.get("SECRET_KEY", "only for this example")

PAGE = """<!doctype html>
<title>Guest book</title>
<h1>Hello, {{ name }}!</h1>
{% for message in messages %}<p class="flash">{{ message }}</p>{% endfor %}
<form method="post" action="{{ url_for('sign') }}">
  <input name="name" placeholder="Your name"> <button>Sign</button>
</form>
<form method="post" action="{{ url_for('upload') }}" enctype="multipart/form-data">
  <input type="file" name="file"> <button>Upload</button>
</form>
"""


@app.get("/")
def index():
    return render_template_string(PAGE, name=session.get("name", "stranger"), messages=get_flashed_messages())


@app.post("/sign")
def sign():
    name = request.form["name"].strip()
    if not name:
        abort(422, "a name is wanted")
    session["name"] = name
    flash(f"Thank you, {name}.")
    return redirect(url_for("index"))


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "size": len(file.read())}


@app.get("/stream")
def stream():
    return (f"line {number}\n" for number in range(5)), {"Content-Type": "text/plain"}


@app.get("/source")
def source():
    return send_file(Path(__file__), mimetype="text/x-python", conditional=True)


@app.get("/users/<int:number>")
def user(number):
    return {"user": number, "next": url_for("user", number=number + 1)}


@app.get("/broken")
def broken():
    raise LookupError("this view is broken on purpose")


@app.errorhandler(404)
def missing(error):
    return render_template_string("<h1>Nothing at {{ path }}</h1>", path=request.path), 404
