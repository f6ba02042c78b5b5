"""The fetcher of key sets, loaded with its libraries at the first fetch: clients with inline keys need none of it."""

from threading import Lock
from typing import TYPE_CHECKING

from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.jwks_url import JwksUrlRules

if TYPE_CHECKING:
    from authserver.adapters.jwks_http import JwksHttp


class LateJwksHttp:
    """JwksHttp (see there), made when it is first asked. Safe for use by several threads.

    With a `ca_file` (PEM) of its own it is made at once: a file that cannot be read shall end the start, with OSError.
    """

    def __init__(self, rules: JwksUrlRules, *, ca_file: str | None = None) -> None:
        self._rules, self._ca_file = rules, ca_file
        self._lock = Lock()
        self._made: JwksHttp | None = None if ca_file is None else self._make()

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer of the owner in bounded time. Raises JwksUnavailable, and nothing else."""
        return self._fetcher(url).fetch(url, etag=etag, last_modified=last_modified)

    def _fetcher(self, url: str) -> "JwksHttp":
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._make()
                except OSError as error:  # the public authorities are not where the library keeps them
                    detail = f"{url}: no certificate authorities: {error}"
                    raise JwksUnavailable(detail=detail, reason="jwks_tls") from error
            return self._made

    def _make(self) -> "JwksHttp":
        from authserver.adapters.jwks_http import JwksHttp

        return JwksHttp(self._rules, ca_file=self._ca_file)
