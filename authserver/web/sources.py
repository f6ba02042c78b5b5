"""From where a request came: found once, at its beginning, and read by whoever counts by it."""

from collections.abc import Callable

from flask import Flask, Request, request

from authserver.protocol.public_addresses import Address
from authserver.protocol.source_address import UNKNOWN, source_of

_SOURCE = "authserver.source"


def install(app: Flask, *, proxies: frozenset[Address]) -> None:
    """Let each request of the application know its source; only these proxies may say another than the peer."""
    app.before_request(_finder(proxies))


def source(of: Request) -> str:
    """Return the request's source: an address, a /64 network, or `unknown`."""
    return str(of.environ.get(_SOURCE, UNKNOWN))


def _finder(proxies: frozenset[Address]) -> Callable[[], None]:
    def find() -> None:
        forwarded = request.headers.getlist("X-Forwarded-For")
        request.environ[_SOURCE] = source_of(request.remote_addr, forwarded, proxies=proxies)

    return find
