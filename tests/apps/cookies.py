"""Sets two cookies in two headers and tells which came in."""


def application(environ, start_response):
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")]
    start_response("200 OK", headers)
    return [environ.get("HTTP_COOKIE", "none").encode()]
