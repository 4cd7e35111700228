"""aiohttp: keep-alive, large and chunked upload, HEAD, 100-continue (it waits for it), early close."""

import asyncio

import aiohttp
from scenarios import UPLOAD, URL, check, pieces, run


def scenario(function):
    """Runs a coroutine with a session of its own."""

    def wrapped():
        async def session():
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
                await function(client)

        asyncio.run(session())

    wrapped.__name__ = function.__name__
    return wrapped


async def ask(client, method, path="/", **options):
    async with client.request(method, URL + path, **options) as response:
        response.raise_for_status()
        return await response.json()


async def in_pieces(body):
    for piece in pieces(body):
        yield piece


@scenario
async def keep_alive(client):
    ports = {(await ask(client, "GET"))["port"] for _ in range(20)}
    assert len(ports) == 1, ports


@scenario
async def large_upload(client):
    check(await ask(client, "PUT", data=UPLOAD), "PUT", UPLOAD)


@scenario
async def chunked_upload(client):
    for _ in range(2):
        check(await ask(client, "POST", data=in_pieces(UPLOAD)), "POST", UPLOAD)


@scenario
async def head(client):
    async with client.head(URL + "/") as response:
        assert int(response.headers["Content-Length"]) > 0
        assert await response.read() == b""
    check(await ask(client, "GET"), "GET", b"")


@scenario
async def expect_continue(client):
    for _ in range(2):
        check(await ask(client, "POST", data=UPLOAD, expect100=True), "POST", UPLOAD)


@scenario
async def close_in_answer(client):
    async with client.get(URL + "/large") as response:
        assert len(await response.content.readexactly(100)) == 100
        response.close()


@scenario
async def close_in_body(client):
    sent = asyncio.Event()

    async def body():
        yield UPLOAD[:500_000]
        sent.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(ask(client, "POST", "/abandoned", data=body()))
    await sent.wait()
    request.cancel()
    assert isinstance((await asyncio.gather(request, return_exceptions=True))[0], asyncio.CancelledError)


run(keep_alive, large_upload, chunked_upload, head, expect_continue, close_in_answer, close_in_body)
