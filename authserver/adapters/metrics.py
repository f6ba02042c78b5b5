"""Counts and times for Prometheus, over prometheus_client. With several processes they share a folder of its files.

This module must be imported after PROMETHEUS_MULTIPROC_DIR was set, if it is to be: the library looks once.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram, seconds."""

MAX_CLIENTS = 200
"""Clients that have time series of their own in one process: each further one counts as `other`."""

# What the library's files do when the disk is full: they cannot grow, then are smaller than it takes them to be. What
# is not counted then is lost, and the request goes on.
_UNCOUNTED = (OSError, ValueError, IndexError)


class Metrics:
    """Meter (see services.metering) for Prometheus."""

    def __init__(self, *, folder: str | None = None) -> None:
        """Count; with a `folder`, the same as PROMETHEUS_MULTIPROC_DIR, tell of all processes that share it.

        To be made by the process that counts, after it was forked.
        """
        if folder is not None:
            # The library asks for the number of the process at each count, which takes longer than counting.
            process = os.getpid()
            values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
        self._registry, self._folder = CollectorRegistry(), folder
        self._requests = Histogram(
            "authserver_request_seconds",
            "Time from a complete request to its answer.",
            ["endpoint", "method", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._refusals = Counter(
            "authserver_refusals", "Refused requests by reason code.", ["endpoint", "reason"], registry=self._registry
        )
        self._fetches = Histogram(
            "authserver_jwks_fetch_seconds",
            "Fetches of clients' key sets, by `ok` or reason code.",
            ["outcome"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._client_keys = Counter(
            "authserver_client_key_failures",
            "Requests of registered clients whose key set could not be had.",
            ["client", "reason"],
            registry=self._registry,
        )
        self._clients: set[str] = set()
        self._cache = Counter(
            "authserver_cache_lookups", "Looks into what a process keeps.", ["cache", "result"], registry=self._registry
        )
        # Looking a child up by its labels takes longer than counting.
        self._seen: dict[tuple[str, ...], Any] = {}

    def request(self, endpoint: str, method: str, status: int, reason: str | None, seconds: float) -> None:
        """Count an answer."""
        try:
            name = ("request", endpoint, method, str(status))
            child = self._seen.get(name)
            if child is None:
                child = self._seen[name] = self._requests.labels(endpoint, method, str(status))
            child.observe(seconds)
            if reason is not None:
                self._refusals.labels(endpoint, reason).inc()
        except _UNCOUNTED:
            return

    def jwks_fetch(self, outcome: str, seconds: float) -> None:
        """Count a fetch of a client's key set."""
        try:
            self._fetches.labels(outcome).observe(seconds)
        except _UNCOUNTED:
            return

    def client_keys_failed(self, client_id: str, reason: str) -> None:
        """Count a request whose client's keys could not be had; the first MAX_CLIENTS clients by name, others together.

        Only registered clients get here, so a stranger makes no names.
        """
        try:
            if client_id not in self._clients and len(self._clients) < MAX_CLIENTS:
                self._clients.add(client_id)
            self._client_keys.labels(client_id if client_id in self._clients else "other", reason).inc()
        except _UNCOUNTED:
            return

    def cache(self, name: str, *, hit: bool) -> None:
        """Count a look into one of this process's caches."""
        try:
            key = ("cache", name, "hit" if hit else "miss")
            child = self._seen.get(key)
            if child is None:
                child = self._seen[key] = self._cache.labels(*key[1:])
            child.inc()
        except _UNCOUNTED:
            return

    def exposition(self, key_ages: Mapping[str, float]) -> bytes:
        """Return everything as text in Prometheus' format, of all processes together; `key_ages` see the port."""
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self._folder)  # type: ignore[no-untyped-call]
        own = CollectorRegistry()
        own.register(_KeyAges(key_ages))
        return generate_latest(registry) + generate_latest(own)


class _KeyAges(Collector):
    """The ages of the signing keys at the moment of the question: every process sees the same keys."""

    def __init__(self, ages: Mapping[str, float]) -> None:
        self._ages = ages

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauge."""
        yield from self._gauges()

    def _gauges(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "authserver_signing_key_age_seconds", "Age of each published signing key.", labels=["kid"]
        )
        for kid, seconds in self._ages.items():
            gauge.add_metric([kid], seconds)
        yield gauge
