"""A strict HTTP/1.1 client on plain sockets: it says what is wrong with an answer instead of making do with it."""

import dataclasses
import socket
import time


class BadAnswer(Exception):
    """The answer is not valid HTTP, or is not complete."""


@dataclasses.dataclass
class Answer:
    status: str
    headers: list
    body: bytes
    framing: str  # "length", "chunked" or "close"
    # The instants (time.monotonic_ns) at which bytes came, with how many bytes of the body there were then.
    arrivals: list

    def header(self, name):
        return [value for field, value in self.headers if field.lower() == name.lower()]

    def closes(self):
        return self.framing == "close" or any(value.lower() == "close" for value in self.header("Connection"))


def request(path, headers=(), body=None):
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Connection:
    def __init__(self, port, timeout=5):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buffer = b""
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def exchange(self, message):
        self.socket.sendall(message)
        while b"\r\n\r\n" not in self.buffer:
            self._receive("the head")
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, headers = _parse_head(head.decode("latin-1"))
        answer = Answer(status, headers, b"", "close", [])
        lengths, codings = answer.header("Content-Length"), answer.header("Transfer-Encoding")
        if len(lengths) + len(codings) > 1:
            raise BadAnswer("more than one framing: Content-Length and Transfer-Encoding together, or repeated")
        if codings:
            if codings[0].lower() != "chunked":
                raise BadAnswer(f"Transfer-Encoding: {codings[0]}")
            answer.framing = "chunked"
            self._read_chunks(answer)
        elif lengths:
            answer.framing = "length"
            self._read_length(answer, int(lengths[0]))
        else:
            self._read_to_end(answer)
        return answer

    def _receive(self, what):
        try:
            received = self.socket.recv(65536)
        except TimeoutError:
            raise BadAnswer(f"no more bytes came while {what} was incomplete") from None
        if not received:
            raise BadAnswer(f"the connection ended while {what} was incomplete")
        self.buffer += received

    def _read_length(self, answer, length):
        answer.arrivals.append((time.monotonic_ns(), min(len(self.buffer), length)))
        while len(self.buffer) < length:
            self._receive("the body")
            answer.arrivals.append((time.monotonic_ns(), min(len(self.buffer), length)))
        answer.body, self.buffer = self.buffer[:length], self.buffer[length:]

    def _read_chunks(self, answer):
        body = bytearray()
        moment = time.monotonic_ns()
        while True:
            while b"\r\n" not in self.buffer:
                self._receive("a chunk's size")
                moment = time.monotonic_ns()
            size, _, self.buffer = self.buffer.partition(b"\r\n")
            length = int(size, 16)
            while len(self.buffer) < length + 2:
                self._receive("a chunk")
                moment = time.monotonic_ns()
            if self.buffer[length : length + 2] != b"\r\n":
                raise BadAnswer("a chunk is longer than its size says")
            body += self.buffer[:length]
            self.buffer = self.buffer[length + 2 :]
            answer.arrivals.append((moment, len(body)))
            if length == 0:
                answer.body = bytes(body)
                return

    def _read_to_end(self, answer):
        try:
            while True:
                answer.arrivals.append((time.monotonic_ns(), len(self.buffer)))
                received = self.socket.recv(65536)
                if not received:
                    break
                self.buffer += received
        except TimeoutError:
            raise BadAnswer("neither a length nor chunked nor the end of the connection ends the answer") from None
        answer.body, self.buffer = self.buffer, b""


def _parse_head(head):
    lines = head.split("\r\n")
    version, _, status = lines[0].partition(" ")
    if not version.startswith("HTTP/1."):
        raise BadAnswer(f"the status line is {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadAnswer(f"a header field is {line!r}")
        headers.append((name, value.strip()))
    return status, headers


def fetch(port, message, timeout=5):
    with Connection(port, timeout) as connection:
        return connection.exchange(message)
