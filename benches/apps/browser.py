"""browser: one kilobyte of JSON with eight fields, to a request with the fields of a browser.

One field depends on the request, so that a server that does not pass the request's fields on is found out.
"""

import json

BODY = json.dumps({"items": [{"id": number, "name": f"item {number}"} for number in range(30)]}).encode()
BODY = BODY[:-1] + b" " * (1024 - len(BODY)) + b"}"


def application(environ, start_response):
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(BODY))),
        ("Content-Language", environ["HTTP_ACCEPT_LANGUAGE"][:2]),
        ("Cache-Control", "private, max-age=0, must-revalidate"),
        ("ETag", '"5f3c9a1e-400"'),
        ("Vary", "Accept-Encoding, Cookie"),
        ("X-Content-Type-Options", "nosniff"),
        ("Set-Cookie", "session=eyJ1c2VyIjo0Mn0.ZzQx; Path=/; HttpOnly; SameSite=Lax"),
    ]
    start_response("200 OK", headers)
    return [BODY]
