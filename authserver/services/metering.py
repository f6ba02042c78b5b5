"""What is counted while serving, as a port: requests, fetches of key sets, hits of caches."""

from collections.abc import Mapping
from typing import Protocol


class Meter(Protocol):
    """Counts what happens, for the operator; costs next to nothing and never fails."""

    def request(self, endpoint: str, method: str, status: int, reason: str | None, seconds: float) -> None:
        """Count an answer. `endpoint` is a route's template, `reason` the code of a refusal, None for a success."""

    def jwks_fetch(self, outcome: str, seconds: float) -> None:
        """Count a fetch of a client's key set by its outcome, `ok` or a reason code."""

    def client_keys_failed(self, client_id: str, reason: str) -> None:
        """Count a request of a registered client whose key set could not be had, by the reason code."""

    def cache(self, name: str, *, hit: bool) -> None:
        """Count a look into one of this process's caches."""


class Exposing(Meter, Protocol):
    """A Meter that can tell what it counted."""

    def exposition(self, key_ages: Mapping[str, float]) -> bytes:
        """Return everything as text in Prometheus' format; `key_ages` are seconds since each signing key was made."""


class NoMeter:
    """A Meter that counts nothing."""

    def request(self, endpoint: str, method: str, status: int, reason: str | None, seconds: float) -> None:
        """Count nothing."""

    def jwks_fetch(self, outcome: str, seconds: float) -> None:
        """Count nothing."""

    def client_keys_failed(self, client_id: str, reason: str) -> None:
        """Count nothing."""

    def cache(self, name: str, *, hit: bool) -> None:
        """Count nothing."""
