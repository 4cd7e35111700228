"""Answers whose heads are alike, in objects made anew for each; the query string says in what they differ."""

from urllib.parse import parse_qsl


class Text(str):
    """A class of its own."""


def application(environ, start_response):
    given = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    body = ("x" * int(given.get("body", "3"))).encode()
    value = given.get("value", "same")
    status = " ".join(["200", given.get("reason", "OK")])
    headers = [
        ("".join(["Content-", "Type"]), "/".join(["text", "plain"])),
        ("".join(["Content-", "Length"]), given.get("length", str(len(body)))),
        (given.get("name", "X-Value"), Text(value) if "class" in given else "".join([*value])),
    ]
    if "more" in given:
        headers.append(("X-More", "yes"))
    start_response(status, headers)
    return [body]
