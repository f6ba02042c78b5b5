"""The runs of the bench: contenders take turns in several rounds, so that what slows the machine slows all of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.bodies import BenchKey, introspections, token_requests
from bench.machine import cpu_seconds, median
from bench.servers import Server, client_of
from bench.wrk import Load, drive

WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Settings:
    """How long and how often: seconds of one run, rounds, and where files go."""

    seconds: int
    rounds: int
    folder: Path


@dataclass
class Series:
    """What several runs of one contender gave. Rates in requests a second, latencies and CPU in microseconds."""

    name: str
    expected: float  # the rate that the next file is made for
    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """The median rate."""
        return median([load.per_second for load in self.loads])

    @property
    def p50(self) -> float:
        """The median of the runs' medians."""
        return median([float(load.p50) for load in self.loads])

    @property
    def p99(self) -> float:
        """The median of the runs' 99th percentiles."""
        return median([float(load.p99) for load in self.loads])

    @property
    def cpu_each(self) -> float:
        """Processor time of the server for one request."""
        return median(self.cpu)

    @property
    def failures(self) -> int:
        """Requests that were refused or broke off; in a valid series none."""
        return sum(load.refused + load.broken for load in self.loads)


@dataclass(frozen=True)
class Contender:
    """One side of a comparison: where it is sent to, what, and how the file is made anew for each run."""

    name: str
    server: Server
    url: str
    bodies: Callable[[int], Path]
    expected: float
    authorization: str = ""
    again: bool = False


def take_turns(contenders: Sequence[Contender], *, connections: int, settings: Settings) -> list[Series]:
    """Run each contender in each round; return what each gave, the first short run of each not counted."""
    found = [Series(contender.name, expected=contender.expected) for contender in contenders]
    pairs = list(zip(contenders, found, strict=True))
    for contender, series in pairs:
        _run(contender, series, connections=connections, seconds=WARM_UP_SECONDS)
        series.loads.clear()
        series.cpu.clear()
    for number in range(settings.rounds):
        # Each round in another order: who comes first has the colder caches.
        for contender, series in rotated(pairs, number):
            _run(contender, series, connections=connections, seconds=settings.seconds)
    return found


T = TypeVar("T")


def rotated(pairs: list[T], by: int) -> list[T]:
    """Return them all, from another one on."""
    start = by % len(pairs)
    return pairs[start:] + pairs[:start]


def _run(contender: Contender, series: Series, *, connections: int, seconds: int) -> None:
    bodies = contender.bodies(math.ceil(series.expected * seconds))
    before = sum(map(cpu_seconds, contender.server.processes))
    load = drive(
        contender.url,
        bodies,
        connections=connections,
        seconds=seconds,
        authorization=contender.authorization,
        again=contender.again,
    )
    spent = sum(map(cpu_seconds, contender.server.processes)) - before
    series.loads.append(load)
    series.cpu.append(spent / max(load.requests, 1) * 1e6)
    series.expected = max(series.expected, 1.3 * load.per_second)


def asking_for_tokens(
    server: Server,
    key: BenchKey,
    *,
    settings: Settings,
    expected: float,
    clients: Sequence[str] = (),
    name: str | None = None,
) -> Contender:
    """Return a contender that is asked for tokens, by these clients in turn or by the bench's own."""
    names = list(clients) or [client_of(key.algorithm)]
    position = [0]

    def bodies(count: int) -> Path:
        start = position[0]
        position[0] = start + count
        asking = [names[(start + number) % len(names)] for number in range(count)]
        return token_requests(settings.folder / "requests", key, asking, audience=server.audience)

    return Contender(name or server.name, server, server.token_url, bodies, expected)


def sending_forms(server: Server, key: BenchKey, *, settings: Settings) -> Contender:
    """Return a contender that gets a hundred token requests over and over, whatever it makes of them."""
    names = [client_of(key.algorithm)] * 100
    path = token_requests(settings.folder / "forms", key, names, audience=server.audience)
    return Contender(server.name, server, server.token_url, lambda _count: path, 1.0, again=True)


def repeating_introspection(server: Server, key: BenchKey, *, settings: Settings) -> Contender:
    """Return a contender that is asked about the same hundred tokens over and over."""
    path = _tokens(server, key, 100, settings=settings)
    url, authorization = server.introspection_url, server.authorization
    return Contender(server.name, server, url, lambda _: path, 0, authorization, again=True)


def new_introspection(server: Server, key: BenchKey, *, settings: Settings, expected: float) -> Contender:
    """Return a contender that is asked about each token once."""

    def bodies(count: int) -> Path:
        return _tokens(server, key, count, settings=settings)

    return Contender(server.name, server, server.introspection_url, bodies, expected, server.authorization)


def _tokens(server: Server, key: BenchKey, count: int, *, settings: Settings) -> Path:
    clients = [client_of(key.algorithm)] * count
    requests = token_requests(settings.folder / "for-tokens", key, clients, audience=server.audience)
    path = settings.folder / f"tokens-{abs(hash((server.base, count)))}"
    return introspections(path, requests, token_url=server.token_url)
