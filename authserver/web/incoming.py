"""One request as every view reads it, whoever serves it: the framework, or a server that speaks without it."""

from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, unquote

from flask import Request, g

from authserver.protocol import source_address
from authserver.protocol.public_addresses import Address
from authserver.web import sources
from authserver.web.direct import DirectRequest


class Incoming:
    """Method, decoded path, query, headers, body and source of a request; nothing of it is trusted.

    `target` is the request target as sent, None where the server does not tell it; `source` see
    protocol.source_address. `read_body` may raise ContentTooLarge. `request_id` is ours, which the answer carries.
    """

    __slots__ = ("_headers", "method", "path", "query", "read_body", "request_id", "source", "target")

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: str,
        headers: dict[str, str],
        source: str,
        read_body: Callable[[], bytes],
        target: str | None = None,
        request_id: str = "",
    ) -> None:
        self.method, self.path, self.query, self.target = method, path, query, target
        self.source, self.read_body, self._headers = source, read_body, headers
        self.request_id = request_id

    def header(self, name: str) -> str | None:
        """Return the header with this lower-case name, None without it.

        One that was sent several times is joined by commas (RFC 9110 section 5.3).
        """
        return self._headers.get(name)

    def has_any(self, names: frozenset[str]) -> bool:
        """Say whether a header with one of these lower-case names was sent."""
        return not names.isdisjoint(self._headers)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return every header, by its lower-case name."""
        return tuple(self._headers.items())

    def query_names(self) -> frozenset[str]:
        """Return the names of the query parameters, decoded."""
        if not self.query:
            return frozenset()
        return frozenset(parse_qs(self.query, keep_blank_values=True, errors="replace"))


def of_framework(request: Request) -> Incoming:
    """Return the framework's request as a view reads it."""
    return Incoming(
        request.method,
        request.path,
        query=request.query_string.decode("latin-1"),
        headers={name.lower(): value for name, value in request.headers},
        source=sources.source(request),
        read_body=lambda: request.get_data(cache=False),
        request_id=g.get("request_id", ""),
    )


def of_direct(
    request: DirectRequest, *, proxies: frozenset[Address], read_body: Callable[[], bytes], request_id: str
) -> Incoming:
    """Return a request that comes without the framework."""
    path, _, query = request.target.partition("?")
    headers = _joined(request.headers)
    return Incoming(
        request.method,
        unquote(path) if "%" in path else path,
        query=query,
        headers=headers,
        source=source_address.source_of(request.peer, _forwarded(headers), proxies=proxies),
        read_body=read_body,
        target=request.target,
        request_id=request_id,
    )


def _joined(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _forwarded(headers: dict[str, str]) -> tuple[str, ...]:
    value = headers.get("x-forwarded-for")
    return () if value is None else (value,)
