"""Fetches of key sets, timed: any fetcher, with somebody told of each outcome."""

import time
from collections.abc import Callable
from typing import Protocol

from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks


class Fetcher(Protocol):
    """What fetches documents, such as JwksHttp."""

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer of the owner in bounded time. Raises JwksUnavailable, and nothing else."""


class MeteredFetcher:
    """A fetcher that tells `count` of each fetch: `ok` or the reason code, and the seconds that it took."""

    def __init__(self, fetcher: Fetcher, count: Callable[[str, float], None]) -> None:
        self._fetcher, self._count = fetcher, count

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer of the owner; raises JwksUnavailable."""
        begun = time.monotonic()
        outcome = "ok"
        try:
            return self._fetcher.fetch(url, etag=etag, last_modified=last_modified)
        except JwksUnavailable as error:
            outcome = error.reason
            raise
        finally:
            self._count(outcome, time.monotonic() - begun)
