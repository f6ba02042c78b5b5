"""Requests over a kept connection, without a library in between: quick, and clear about what was never answered."""

import select
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import orjson

from tests.builders import ROOT_SECRET
from tests.faults.oracle import BROKEN

SECONDS = 15.0
"""How long a request waits for its answer, by default."""

_LOOPBACK = "127.0.0.1"
_ROOT = "Authorization: Basic " + b64encode(f"root:{ROOT_SECRET}".encode()).decode() + "\r\n"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and when (monotonic seconds); a status of BROKEN has nothing else."""

    sent: float
    at: float
    status: int
    body: bytes = b""
    request_id: str = ""

    def json(self) -> Any:
        """Return the body as JSON; an empty object where there is none."""
        return orjson.loads(self.body) if self.body else {}


def form(path: str, fields: Mapping[str, str], *, operator: bool = True) -> bytes:
    """Return a POST of a form, by default as the operator."""
    return _request("POST", path, urlencode(fields).encode(), media_type=_FORM, operator=operator)


def put(path: str, resource: Mapping[str, Any]) -> bytes:
    """Return a PUT of a resource as the operator."""
    return _request("PUT", path, orjson.dumps(resource), media_type="application/json", operator=True)


def get(path: str) -> bytes:
    """Return a GET as the operator."""
    return _request("GET", path, b"", media_type="", operator=True)


def _request(method: str, path: str, body: bytes, *, media_type: str, operator: bool) -> bytes:
    kind = f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n" if media_type else ""
    return f"{method} {path} HTTP/1.1\r\nHost: auth.example\r\n{_ROOT if operator else ''}{kind}\r\n".encode() + body


class Connection:
    """A connection to a port of this host, opened when it is needed."""

    def __init__(self, port: int, *, seconds: float = SECONDS, keeping: bool = True) -> None:
        """`keeping`: use one connection for all requests; else each has its own."""
        self._port, self._seconds, self._keeping = port, seconds, keeping
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> Answer:
        """Send and return the answer; never raises."""
        sent = time.monotonic()
        if not self.send(request):
            return self._broken(sent)
        return self.receive(sent)

    def send(self, request: bytes) -> bool:
        """Send, on a new connection where the kept one has ended; say whether it could be sent."""
        try:
            if self._socket is not None and _has_ended(self._socket):
                self.close()
            if self._socket is None:
                self._socket = socket.create_connection((_LOOPBACK, self._port), timeout=self._seconds)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(request)
        except OSError:
            self.close()
            return False
        return True

    def has_answer(self, *, seconds: float) -> bool:
        """Say whether something comes within the time."""
        return self._socket is not None and bool(select.select([self._socket], [], [], seconds)[0])

    def receive(self, sent: float) -> Answer:
        """Return the answer to what was sent at that moment."""
        try:
            head, body = self._read()
        except (OSError, ValueError):
            return self._broken(sent)
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").lower().split("\r\n")[1:])
        if fields.get("connection") == "close" or not self._keeping:
            self.close()
        return Answer(sent, time.monotonic(), int(head[9:12]), body, fields.get("x-request-id", ""))

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _broken(self, sent: float) -> Answer:
        self.close()
        return Answer(sent, time.monotonic(), BROKEN)

    def _read(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        return head, body

    def _more(self) -> bytes:
        if self._socket is None:
            raise ConnectionError
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError
        return data


class PerThread:
    """Connections to some ports, others for each thread that asks for its own, closed at the end of the context."""

    def __init__(self, *ports: int) -> None:
        self._ports, self._local = ports, threading.local()
        self._all: list[Connection] = []

    def own(self) -> list[Connection]:
        """Return the calling thread's connections, one to each port."""
        if not hasattr(self._local, "connections"):
            self._local.connections = [Connection(port) for port in self._ports]
            self._all += self._local.connections
        connections: list[Connection] = self._local.connections
        return connections

    def __enter__(self) -> Self:
        """Begin without any."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all of them."""
        for connection in self._all:
            connection.close()


def _has_ended(kept: socket.socket) -> bool:
    """Say whether the other side has closed a connection that waits for nothing."""
    kept.setblocking(False)
    try:
        return kept.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        kept.settimeout(SECONDS)
