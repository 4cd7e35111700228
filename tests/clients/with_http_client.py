"""Python's http.client: keep-alive, large and chunked upload, HEAD, 100-continue, early close.

It does not wait for 100 Continue: it sends the body at once and skips the interim answer.
"""

import json
from http.client import HTTPConnection

from scenarios import UPLOAD, URL, check, pieces, run

host = URL.removeprefix("http://")


def ask(connection, method, path="/", body=None, headers={}, **options):
    connection.request(method, path, body, headers, **options)
    response = connection.getresponse()
    assert response.status == 200, response.status
    return json.loads(response.read())


def keep_alive():
    connection = HTTPConnection(host)
    ports = {ask(connection, "GET")["port"] for _ in range(20)}
    assert len(ports) == 1, ports


def large_upload():
    check(ask(HTTPConnection(host), "PUT", body=UPLOAD), "PUT", UPLOAD)


def chunked_upload():
    connection = HTTPConnection(host)
    for _ in range(2):
        headers = {"Transfer-Encoding": "chunked"}
        answer = ask(connection, "POST", body=pieces(UPLOAD), headers=headers, encode_chunked=True)
        check(answer, "POST", UPLOAD)


def head():
    connection = HTTPConnection(host)
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert int(response.headers["Content-Length"]) > 0
    assert response.read() == b""
    check(ask(connection, "GET"), "GET", b"")


def expect_continue():
    connection = HTTPConnection(host)
    for _ in range(2):
        answer = ask(connection, "POST", body=UPLOAD, headers={"Expect": "100-continue"})
        check(answer, "POST", UPLOAD)


def close_in_answer():
    connection = HTTPConnection(host)
    connection.request("GET", "/large")
    assert len(connection.getresponse().read(100)) == 100
    connection.close()


def close_in_body():
    connection = HTTPConnection(host)
    connection.putrequest("POST", "/abandoned")
    connection.putheader("Content-Length", str(len(UPLOAD)))
    connection.endheaders(UPLOAD[:500_000])
    connection.close()


run(keep_alive, large_upload, chunked_upload, head, expect_continue, close_in_answer, close_in_body)
