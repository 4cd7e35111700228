"""A page that shows what the server does: worker, generation, environ, forms, a streamed answer, errors.

Plain WSGI (PEP 3333) on the standard library: nothing has to be installed.
"""

import os
import platform
import sys
import threading
import time
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

STARTED = time.time()
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
POST_SHOWN_BYTES = 2000


def answer(start_response, status, body, kind="text/html; charset=utf-8", headers=()):
    data = body.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(data))), *headers])
    return [data]


def page(start_response, title, content, status="200 OK"):
    return answer(start_response, status, PAGE.replace("{title}", escape(title)).replace("{content}", content))


def rows(pairs):
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in pairs)


def index(environ, start_response):
    worker = rows(
        [
            ("Process", os.getpid()),
            ("Generation", environ.get("rwsgi.generation", "?")),
            ("Worker slot", environ.get("rwsgi.worker", "?")),
            ("Thread", threading.current_thread().name),
            ("Request", environ.get("rwsgi.request_id", "?")),
            ("Up for", f"{time.time() - STARTED:.1f} s"),
            ("Python", f"{platform.python_version()}, {sys.executable}"),
            ("Master process", os.getppid()),
        ]
    )
    names = rows(sorted((name, value) for name, value in environ.items()))
    content = f"""
<section><h2>Who answered</h2><table>{worker}</table>
<p>Reload this page and another worker may answer. Send the master <code>kill -HUP {os.getppid()}</code> and the
generation goes up by one while no request is lost.</p></section>
<section><h2>Forms</h2>
<form method="get" action="/form"><label>GET <input name="text" value="naïve café"></label> <button>Send</button></form>
<form method="post" action="/form"><label>POST <input name="text" value="naïve café"></label> <button>Send</button></form>
<form method="post" action="/upload" enctype="multipart/form-data">
<label>Upload <input type="file" name="file"></label> <button>Send</button></form></section>
<section><h2>Answers of every kind</h2><ul>
<li><a href="/stream">Streamed</a>: a line each half second, sent as it is made</li>
<li><a href="/slow?seconds=2">Slow</a>: two seconds of waiting in Python</li>
<li><a href="/file">A file</a>: its own source, by <code>wsgi.file_wrapper</code></li>
<li><a href="/cookie">A cookie and a redirect</a>: {escape(environ.get("HTTP_COOKIE", "no cookie yet"))}</li>
<li><a href="/error">An error</a>: the page raises, the log has the traceback</li>
<li><a href="/nothing-here">Not found</a></li></ul></section>
<section><h2>The environ of this request</h2><table>{names}</table></section>"""
    return page(start_response, "rwsgi", content)


def form(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        raw = environ["wsgi.input"].read()
        query = raw.decode("utf-8", "replace")
    else:
        raw = b""
        query = environ["QUERY_STRING"]
    fields = rows((name, value) for name, values in parse_qs(query).items() for value in values)
    facts = rows([("Method", environ["REQUEST_METHOD"]), ("Bytes in the body", len(raw))])
    return page(start_response, "Form", f"<section><h2>You sent</h2><table>{facts}{fields}</table></section>")


def upload(environ, start_response):
    size = 0
    first = b""
    while block := environ["wsgi.input"].read(64 * 1024):
        first = first or block[:POST_SHOWN_BYTES]
        size += len(block)
    facts = rows([("Method", environ["REQUEST_METHOD"]), ("Bytes in the body", f"{size:,}")])
    shown = escape(first.decode("utf-8", "replace"))
    content = f"<section><h2>You sent</h2><table>{facts}</table><h2>How it begins</h2><pre>{shown}</pre></section>"
    return page(start_response, "Upload", content)


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    content = "<section><h2>A streamed answer</h2><p>One line each half second:</p><ol>"
    head, tail = PAGE.replace("{title}", "Stream").split("{content}")
    yield (head + content).encode()
    for number in range(1, 11):
        yield f"<li>line {number} at {time.strftime('%H:%M:%S')}</li>\n".encode()
        time.sleep(0.5)
    yield ("</ol></section>" + tail).encode()


def slow(environ, start_response):
    try:
        seconds = min(float(parse_qs(environ["QUERY_STRING"]).get("seconds", ["2"])[0]), 20.0)
    except ValueError:
        return page(start_response, "Slow", "<section><h2>seconds must be a number</h2></section>", "400 Bad Request")
    time.sleep(max(seconds, 0.0))
    return page(start_response, "Slow", f"<section><h2>That took {seconds:g} seconds</h2></section>")


def file(environ, start_response):
    source = open(__file__, "rb")
    size = os.path.getsize(__file__)
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(size))])
    return environ["wsgi.file_wrapper"](source)


def cookie(environ, start_response):
    headers = [("Location", "/"), ("Set-Cookie", f"visited={int(time.time())}; Path=/; HttpOnly; SameSite=Lax")]
    return answer(start_response, "303 See Other", "", headers=headers)


def error(environ, start_response):
    raise RuntimeError("this page raises on purpose; the log has the traceback")


PAGES = {
    "/": index,
    "/form": form,
    "/upload": upload,
    "/stream": stream,
    "/slow": slow,
    "/file": file,
    "/cookie": cookie,
    "/error": error,
}


def application(environ, start_response):
    found = PAGES.get(environ["PATH_INFO"])
    if found is None:
        content = f"<section><h2>There is nothing at {escape(environ['PATH_INFO'])}</h2></section>"
        return page(start_response, "Not found", content, "404 Not Found")
    return found(environ, start_response)
