"""Fetch a client's key set with one hardened GET, as if its address were hostile. Caches nothing.

Raises JwksUnavailable and nothing else, with one of these reasons: jwks_url (or a code of
protocol.jwks_url), jwks_blocked_address, jwks_dns, jwks_dns_busy, jwks_fetch_busy, jwks_timeout, jwks_tls,
jwks_connection, jwks_redirect, jwks_status, jwks_media_type, jwks_encoded, jwks_too_large.
"""

import re
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from ipaddress import ip_address

from requests import RequestException, Response
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import HTTPError

from authserver.adapters.name_lookup import LookupBusy, NameLookup, Resolve, system_resolve
from authserver.adapters.pinned_http import Budget, BudgetTlsSocket, Route, get
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.jwks_url import JwksUrl, JwksUrlRules, UnsafeJwksUrl, check, may_connect
from authserver.protocol.public_addresses import Address, unwrapped

# What status line, headers, TLS tickets and chunk framing may take beside the document.
_OVERHEAD_BYTES = 32_768
_CHUNK_BYTES = 16_384
_DETAIL_LENGTH = 300
_JSON_MEDIA_TYPE = re.compile(r"application/json|[a-z0-9!#$&^_.-]+/[a-z0-9!#$&^_.-]+\+json")
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,512}")
_LIBRARY_ERRORS = (RequestException, HTTPError, HTTPException, OSError, ValueError)


class JwksHttp:
    """One GET per call: https verified, addresses checked and pinned, no redirect, bounded in time and size.

    `deadline` (seconds) covers name lookup, connecting, TLS, headers and body together. `max_bytes` bounds
    the document. `max_concurrent` fetches run at once and the next is refused (jwks_fetch_busy): a caller
    would otherwise wait behind hostile hosts. `ca_file` (PEM) replaces the public authorities; `resolve` and
    `monotonic` replace the system's resolver and clock.
    """

    def __init__(
        self,
        rules: JwksUrlRules,
        *,
        deadline: float = 3.0,
        max_bytes: int = 64_000,
        max_concurrent: int = 16,
        ca_file: str | None = None,
        resolve: Resolve = system_resolve,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._slots = threading.BoundedSemaphore(max_concurrent)
        self._lookup = NameLookup(resolve, limit=4 * max_concurrent)
        self._monotonic = monotonic
        self._tls = _tls_context(ca_file)

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer: 200 with a document that claims to be JSON, or 304 if a validator was given."""
        if not self._slots.acquire(blocking=False):
            raise JwksUnavailable(detail=f"{url}: too many fetches are under way", reason="jwks_fetch_busy")
        try:
            return self._fetch(url, _request_headers(etag, last_modified))
        finally:
            self._slots.release()

    def _fetch(self, url: str, headers: dict[str, str]) -> FetchedJwks:
        budget = Budget(seconds=self._deadline, max_bytes=self._max_bytes + _OVERHEAD_BYTES, monotonic=self._monotonic)
        conditional = "If-None-Match" in headers or "If-Modified-Since" in headers
        try:
            route = self._route(url, budget)
            response, body = get(
                route,
                url,
                headers=headers,
                tls=self._tls,
                read=lambda answer: self._read(answer, conditional=conditional),
            )
        except _Refused as error:
            raise _unavailable(url, error.reason, error) from error
        except _LIBRARY_ERRORS as error:
            raise _unavailable(url, _reason(error, budget), error) from error
        return _fetched(response, body)

    def _route(self, url: str, budget: Budget) -> Route:
        """Return where to connect: resolved once, and every address of the answer permitted."""
        try:
            checked = check(url, rules=self._rules)
        except UnsafeJwksUrl as error:
            raise _Refused(error.reason_code, error.sentence) from error
        addresses = self._addresses(checked, budget)
        for address in addresses:
            if not may_connect(checked, address, rules=self._rules):
                raise _Refused("jwks_blocked_address", f"{checked.host} has the address {address}")
        return Route(checked.scheme, checked.host, checked.port, addresses, budget)

    def _addresses(self, url: JwksUrl, budget: Budget) -> tuple[Address, ...]:
        if url.address is not None:
            return (unwrapped(url.address),)
        try:
            found = self._lookup.addresses(url.host, url.port, timeout=budget.seconds_left())
            addresses = tuple(unwrapped(ip_address(text.partition("%")[0])) for text in found)
        except LookupBusy as error:
            raise _Refused("jwks_dns_busy", str(error)) from error
        except (OSError, ValueError) as error:
            reason = "jwks_timeout" if isinstance(error, TimeoutError) else "jwks_dns"
            raise _Refused(reason, f"{url.host} was not resolved: {error}") from error
        if not addresses:
            raise _Refused("jwks_dns", f"{url.host} has no address")
        return tuple(dict.fromkeys(addresses))

    def _read(self, response: Response, *, conditional: bool) -> bytes:
        """Return the document as it came, or b"" for 304. Judges the headers before the body is read."""
        status = response.status_code
        if status == 304 and conditional:
            return b""
        if 300 <= status < 400:
            raise _Refused("jwks_redirect", f"status {status}")
        if status != 200:
            raise _Refused("jwks_status", f"status {status}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise _Refused("jwks_encoded", "the answer is encoded although identity was asked for")
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if _JSON_MEDIA_TYPE.fullmatch(media_type) is None:
            raise _Refused("jwks_media_type", f"media type {media_type!r}")
        return self._document(response)

    def _document(self, response: Response) -> bytes:
        """Return the body as it came. One read() would not notice that a promised rest is missing."""
        body = bytearray()
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            body += chunk
            if len(body) > self._max_bytes:
                raise _Refused("jwks_too_large", f"the document is larger than {self._max_bytes} bytes")
        return bytes(body)


class _Refused(Exception):
    """A rule of this module said no; `reason` is the code for the log."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        super().__init__(sentence)


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies certificate and host name; TLS 1.2 or newer."""
    context = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BudgetTlsSocket
    return context


def _request_headers(etag: str | None, last_modified: str | None) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "User-Agent": "authserver",
    }
    if etag is not None:
        headers["If-None-Match"] = etag
    if last_modified is not None:
        headers["If-Modified-Since"] = last_modified
    return headers


def _fetched(response: Response, body: bytes) -> FetchedJwks:
    headers = response.headers
    return FetchedJwks(
        status=response.status_code,
        body=body,
        cache_control=headers.get("Cache-Control"),
        age=headers.get("Age"),
        expires=headers.get("Expires"),
        date=headers.get("Date"),
        etag=_validator(headers.get("ETag")),
        last_modified=_validator(headers.get("Last-Modified")),
    )


def _validator(text: str | None) -> str | None:
    """Return what may be sent back in a conditional request; odd or long ones would be kept for nothing."""
    return text if text is not None and _VALIDATOR.fullmatch(text) else None


def _reason(error: Exception, budget: Budget) -> str:
    if budget.is_overdrawn:
        return "jwks_too_large"
    if budget.is_overdue or _caused_by(error, TimeoutError):
        return "jwks_timeout"
    return "jwks_tls" if _caused_by(error, ssl.SSLError) else "jwks_connection"


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Say whether such an error is in the chain; requests and urllib3 wrap one in the other."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _unavailable(url: str, reason: str, error: Exception) -> JwksUnavailable:
    return JwksUnavailable(detail=f"{url}: {error}"[: 2_048 + _DETAIL_LENGTH], reason=reason)
