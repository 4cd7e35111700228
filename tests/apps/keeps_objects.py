"""Keeps the objects of a request when the query says so, and tells whether an object comes again that was kept."""

KEPT = []
SEEN = set()
NAMES = ("wsgi.input", "wsgi.errors", "rwsgi.client_disconnected")


def application(environ, start_response):
    objects = [environ[name] for name in NAMES] + [start_response]
    again = [kept for kept in KEPT if any(kept is given for given in objects)]
    reused = all(id(given) in SEEN for given in objects)
    SEEN.update(map(id, objects))
    body = environ["wsgi.input"].read()
    if environ["QUERY_STRING"] == "keep":
        KEPT.extend(objects)
        # What was kept of earlier requests has nothing of this one.
        body += b"".join(kept.read() for kept in KEPT[:-4] if hasattr(kept, "read"))
    answer = b"%d kept came again, %s, body %s\n" % (len(again), b"reused" if reused else b"new", body)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer]
