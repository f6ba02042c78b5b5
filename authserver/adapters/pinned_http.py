"""One HTTP GET to addresses chosen beforehand, within a budget of seconds and bytes.

The plumbing under `requests` that makes both hold; it knows nothing of key sets, nor which address is safe.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool, HTTPSConnectionPool

from authserver.protocol.public_addresses import Address

# Every address of an answer is checked, but a fetch has no time to try them all.
MAX_ATTEMPTS = 4


class OutOfBytes(OSError):
    """More came over the network than the budget holds."""


class Budget:
    """What one exchange may still spend: seconds of one absolute deadline, and bytes received."""

    def __init__(self, *, seconds: float, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._end = monotonic() + seconds
        self._bytes_left = max_bytes

    def seconds_left(self) -> float:
        """Return the seconds left, more than 0. Raises TimeoutError when there are none."""
        left = self._end - self._monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the fetch has passed")
        return left

    def spend(self, received: int) -> int:
        """Take the bytes received off the budget and return their number. Raises OutOfBytes."""
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise OutOfBytes("the answer is larger than a fetch may receive")
        return received

    @property
    def is_overdue(self) -> bool:
        """Say whether the deadline has passed."""
        return self._monotonic() >= self._end

    @property
    def is_overdrawn(self) -> bool:
        """Say whether more bytes came than were allowed."""
        return self._bytes_left < 0


@dataclass(frozen=True, slots=True)
class Route:
    """Where the connection of a URL goes. `host` is the name for SNI, Host header and certificate check."""

    scheme: str
    host: str
    port: int
    addresses: tuple[Address, ...]
    budget: Budget


class BudgetTlsSocket(ssl.SSLSocket):
    """A TLS socket whose every read ends at the deadline; `sslsocket_class` of the context that is passed in."""

    budget: Budget

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive within the budget; a timeout per read alone would let a slow drip live for ever."""
        self.settimeout(self.budget.seconds_left())
        return self.budget.spend(super().recv_into(buffer, nbytes, flags))


class _BudgetSocket(socket.socket):
    budget: Budget

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(self.budget.seconds_left())
        return self.budget.spend(super().recv_into(buffer, nbytes, flags))


def get(
    route: Route, url: str, *, headers: Mapping[str, str], tls: ssl.SSLContext, read: Callable[[Response], bytes]
) -> tuple[Response, bytes]:
    """Send one GET and return the answer with what `read` made of it; the connection is closed then.

    Follows no redirect, sends no cookie and no credential, uses no proxy, decodes nothing. Raises whatever
    `read`, requests, urllib3, http.client or the socket raises.
    """
    # A Session would read proxies and .netrc from the environment, keep cookies, and read and decode the
    # body of a redirect even when told not to follow it. The adapter alone does none of that.
    adapter = _PinnedAdapter(route, tls)
    request = PreparedRequest()
    request.prepare(method="GET", url=url, headers=headers)
    try:
        response = adapter.send(request, stream=True, timeout=route.budget.seconds_left())
        try:
            return response, read(response)
        finally:
            response.close()
    finally:
        adapter.close()


class _PinnedAdapter(HTTPAdapter):
    """An adapter with one pool of one connection, whatever the URL of the request says."""

    def __init__(self, route: Route, tls: ssl.SSLContext) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._pool: HTTPConnectionPool = (
            _PinnedHttpsPool(route.host, route.port, route=route, ssl_context=tls)
            if route.scheme == "https"
            else _PinnedHttpPool(route.host, route.port, route=route)
        )

    def get_connection_with_tls_context(self, *_args: Any, **_kwargs: Any) -> ConnectionPool:
        """Return the pinned pool."""
        return self._pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: its TLS context verifies already and has its authorities loaded."""

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()
        super().close()


class _PinnedHttpConnection(HTTPConnection):
    def __init__(self, *args: Any, route: Route, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return _open_socket(self._route)


class _PinnedHttpsConnection(HTTPSConnection):
    def __init__(self, *args: Any, route: Route, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._route = route

    def _new_conn(self) -> socket.socket:
        return _open_socket(self._route)

    def connect(self) -> None:
        """Connect and shake hands; the handshake as a whole is bounded by the timeout of the socket under it."""
        super().connect()
        cast(BudgetTlsSocket, self.sock).budget = self._route.budget


class _PinnedHttpPool(HTTPConnectionPool):
    ConnectionCls = _PinnedHttpConnection


class _PinnedHttpsPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedHttpsConnection


def _open_socket(route: Route) -> socket.socket:
    """Connect to the first address that answers; one that does not may use up its share of the time only."""
    addresses = route.addresses[:MAX_ATTEMPTS]
    failure: OSError = OSError("there is no address")
    for tried, address in enumerate(addresses):
        share = route.budget.seconds_left() / (len(addresses) - tried)
        try:
            return _connect(address, route, timeout=share)
        except OSError as error:
            failure = error
    raise failure


def _connect(address: Address, route: Route, *, timeout: float) -> socket.socket:
    connection = _BudgetSocket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        connection.budget = route.budget
        connection.settimeout(timeout)
        connection.connect((str(address), route.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(route.budget.seconds_left())
    except OSError:
        connection.close()
        raise
    return connection
