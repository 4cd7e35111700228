"""Whether a server's answer is right: a server that answers wrongly is shown, but not ranked."""

from . import client

# A block that arrives later than this after it was yielded was held back.
DELAY_MAX_MS = 5.0
DELAY_ATTEMPTS = 3
# A thread may close its response after another has answered the next request.
CLOSE_ATTEMPTS = 20
HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "date", "server"}
SHOWN = 60


def _short(value):
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _fault(answer, expected):
    status, headers, body = expected
    if not answer.status.startswith(status[:3]):
        return f"status {answer.status!r}, expected {status!r}"
    there = [(name.lower(), value) for name, value in answer.headers]
    for name, value in headers:
        if name.lower() in HOP_BY_HOP:
            continue
        if (name.lower(), value) not in there:
            return f"the application's header {name}: {_short(value)} is missing"
        there.remove((name.lower(), value))
    length = next((value for name, value in headers if name.lower() == "content-length"), None)
    if length is not None and answer.header("Content-Length") != [length]:
        return f"Content-Length is {answer.header('Content-Length')}, the application set {length}"
    if answer.body != body:
        return f"the body has {len(answer.body)} bytes {_short(answer.body)}, expected {len(body)}"
    return None


def fault(server, scenario, expected):
    """What is wrong with the answers of a server, or None; and a remark on what is right but telling."""
    message = scenario.message()
    wants_close = ("Connection", "close") in scenario.headers
    try:
        with client.Connection(server.port) as connection:
            first = connection.exchange(message)
            wrong = _fault(first, expected)
            if wrong:
                return wrong, ""
            if first.closes() or wants_close:
                return None, "" if wants_close else "closes each connection"
            second = connection.exchange(message)
            return _fault(second, expected), ""
    except (client.BadAnswer, OSError, ValueError) as error:
        return str(error), ""


def delay_ms(server, path):
    """How late the most delayed block of a streamed answer came, in milliseconds after it was yielded.

    The least of several attempts: what else runs on the machine delays a block now and then, a server that holds
    blocks back does so each time.
    """
    delays = [_delay_ms(server, path) for _ in range(DELAY_ATTEMPTS)]
    return None if None in delays else min(delays)


def _delay_ms(server, path):
    try:
        answer = client.fetch(server.port, client.request(path))
    except (client.BadAnswer, OSError, ValueError):
        return None
    worst = 0.0
    for start in range(0, len(answer.body), 1024):
        yielded = int(answer.body[start : start + 20])
        arrived = next(moment for moment, there in answer.arrivals if there >= start + 1024)
        worst = max(worst, (arrived - yielded) / 1e6)
    return worst


def close_fault(server, path):
    """What is wrong about the `close()` of what the application returned (PEP 3333, "Specification Details"), or None; and a
    remark when it is not called."""
    try:
        answers = [client.fetch(server.port, client.request(path)) for _ in range(CLOSE_ATTEMPTS)]
    except (client.BadAnswer, OSError, ValueError) as error:
        return str(error), ""
    wrong = next((answer for answer in answers if not answer.status.startswith("200") or not answer.body.isdigit()), None)
    if wrong:
        return f"{path}: {wrong.status}, {_short(wrong.body)}", ""
    return None, "" if any(answer.body != b"0" for answer in answers) else "does not close the response"
