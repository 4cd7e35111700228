"""httpx: keep-alive, large and chunked upload, HEAD, 100-continue, early close.

It does not wait for 100 Continue: it sends the body at once and skips the interim answer.
"""

import httpx
from scenarios import UPLOAD, URL, Abandoned, check, half, pieces, run

client = httpx.Client(trust_env=False, timeout=30)


def ask(method, path="/", **options):
    return client.request(method, URL + path, **options).raise_for_status()


def keep_alive():
    ports = {ask("GET").json()["port"] for _ in range(20)}
    assert len(ports) == 1, ports


def large_upload():
    check(ask("PUT", content=UPLOAD).json(), "PUT", UPLOAD)


def chunked_upload():
    for _ in range(2):
        check(ask("POST", content=pieces(UPLOAD)).json(), "POST", UPLOAD)


def head():
    response = ask("HEAD")
    assert int(response.headers["Content-Length"]) > 0 and response.content == b""
    check(ask("GET").json(), "GET", b"")


def expect_continue():
    for _ in range(2):
        check(ask("POST", content=UPLOAD, headers={"Expect": "100-continue"}).json(), "POST", UPLOAD)


def close_in_answer():
    with client.stream("GET", URL + "/large") as response:
        assert len(next(response.iter_raw(100))) == 100


def close_in_body():
    try:
        ask("POST", "/abandoned", content=half(UPLOAD))
    except Abandoned:
        return
    raise AssertionError("half a body was answered")


run(keep_alive, large_upload, chunked_upload, head, expect_continue, close_in_answer, close_in_body)
