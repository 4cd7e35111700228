"""The scenarios of speed: what is asked of every server, what it must answer, and the targets."""

import dataclasses
import importlib
import io
import sys

from . import client, machine, servers

BEST_PEER = "the best peer"


@dataclasses.dataclass
class Target:
    """rwsgi (or a variant of it) may take at most `limit` times the CPU time of `against`."""

    against: str
    limit: float
    of: str = servers.OWN


@dataclasses.dataclass
class Scenario:
    name: str
    what: str
    module: str
    targets: list
    path: str = "/"
    headers: list = dataclasses.field(default_factory=list)
    body: bytes | None = None
    connections: int = 64
    floor: bool = False
    variants: list = dataclasses.field(default_factory=list)
    # A path whose answer comes in blocks that begin with the instant at which they were yielded.
    timed_path: str | None = None
    # A path that answers how many of its own responses were closed.
    closes_path: str | None = None

    def message(self):
        return client.request(self.path, self.headers, self.body)

    def expected(self):
        """The status, the headers and the body that the application gives, asked here without a server."""
        if str(machine.APPS) not in sys.path:
            sys.path.insert(0, str(machine.APPS))
        application = importlib.import_module(self.module).application
        given = []
        blocks = application(self._environ(), lambda status, headers, *_: given.extend((status, headers)))
        body = b"".join(blocks)
        if hasattr(blocks, "close"):
            blocks.close()
        return given[0], list(given[1]), body

    def _environ(self):
        path, _, query = self.path.partition("?")
        environ = {
            "REQUEST_METHOD": "GET" if self.body is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body or b""),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.headers:
            field = name.upper().replace("-", "_")
            environ["CONTENT_TYPE" if field == "CONTENT_TYPE" else "HTTP_" + field] = value
        if self.body is not None:
            environ["CONTENT_LENGTH"] = str(len(self.body))
        return environ


# With Host, which wrk adds, fifteen.
BROWSER_HEADERS = [
    ("Connection", "keep-alive"),
    ("Cache-Control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="130", "Not?A_Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Referer", "http://127.0.0.1/customers/42/orders?page=2"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=eyJ1c2VyIjo0Mn0.ZzQx; theme=dark; consent=necessary; _visit=1732189531.7"),
]

SCENARIOS = [
    Scenario(
        "hello",
        "13 bytes",
        "hello",
        [
            Target("fastpysgi", 0.90),
            Target(servers.FLOOR, 1.20),
            Target(servers.OWN, 1.05, of=servers.THREADS_8),
            Target(servers.OWN, 1.15, of=servers.ACCESS_LOG),
        ],
        floor=True,
        variants=[servers.THREADS_8, servers.ACCESS_LOG],
    ),
    Scenario(
        "browser",
        "15 request headers, 8 response headers, 1 KB of JSON",
        "browser",
        [Target("fastwsgi", 0.75)],
        path="/api/items?page=2&sort=name",
        headers=BROWSER_HEADERS,
        floor=True,
    ),
    Scenario("big", "100 KB in one block", "big", [Target(BEST_PEER, 1.00)]),
    Scenario(
        "stream",
        "50 blocks of 1 KB from a generator, no length",
        "stream",
        [Target("granian", 0.35)],
        timed_path="/slow",
    ),
    Scenario(
        "post",
        "10 KB in, 10 KB out",
        "post",
        [Target("fastwsgi", 0.85)],
        headers=[("Content-Type", "application/octet-stream")],
        body=b"0123456789abcdef" * 640,
        floor=True,
    ),
    Scenario(
        "close",
        "a connection per request, 13 bytes",
        "hello",
        [Target("bjoern", 0.90)],
        headers=[("Connection", "close")],
    ),
    Scenario(
        "flask",
        "a Flask view: route, argument, cookie, two templates",
        "flask_site",
        [Target(BEST_PEER, 1.00)],
        path="/customers/42/orders?page=3",
        headers=[("Cookie", "theme=dark")],
        closes_path="/closed",
    ),
    Scenario(
        "django",
        "a Django view: route, middleware, argument, cookie, two templates",
        "django_site",
        [Target(BEST_PEER, 1.00)],
        path="/customers/42/orders?page=3",
        headers=[("Cookie", "theme=dark")],
        closes_path="/closed",
    ),
]
