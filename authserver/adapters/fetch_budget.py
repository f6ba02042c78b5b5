"""How many fetches of key sets may be caused by callers who then prove nobody: per source, per address, in all.

Anyone can name a client, so what a fetch costs is charged before the caller is proven and forgiven when he is.
A source that proved an address lately has an allowance of its own there, which no stranger can use up.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_MAX_KEPT = 20_000
_Bucket = tuple[str, ...]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Unproven fetches within `window` seconds; `known_for` (seconds) is how long a proof makes a source known."""

    per_source: int = 30
    per_address: int = 10
    in_all: int = 300
    window: float = 60.0
    known_for: float = 3_600.0


class FetchBudget:
    """Counts the fetches of one process. Safe for use by several threads."""

    def __init__(self, limits: FetchLimits | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._monotonic = limits or FetchLimits(), monotonic
        self._spent: OrderedDict[_Bucket, deque[float]] = OrderedDict()
        self._charged: OrderedDict[tuple[str, str], tuple[_Bucket, ...]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, address: str, *, source: str) -> bool:
        """Charge one fetch and return True, or return False, charging nothing, when a limit is reached."""
        with self._lock:
            at = self._monotonic()
            buckets = self._buckets(address, source, at)
            if any(self._count(bucket, at) >= limit for bucket, limit in buckets.items()):
                return False
            for bucket in buckets:
                _kept(self._spent, bucket, self._spent.get(bucket) or deque()).append(at)
            _kept(self._charged, (source, address), tuple(buckets))
            return True

    def forgive(self, address: str, *, source: str) -> None:
        """Take back the last charge of a source that proved itself there, and know the source from now on."""
        with self._lock:
            for bucket in self._charged.pop((source, address), ()):
                if self._spent.get(bucket):
                    self._spent[bucket].pop()
            _kept(self._known, (source, address), self._monotonic() + self._limits.known_for)

    def _buckets(self, address: str, source: str, at: float) -> dict[_Bucket, int]:
        limits = self._limits
        if self._known.get((source, address), at) > at:
            return {("known", source, address): limits.per_address}
        return {
            ("source", source): limits.per_source,
            ("address", address): limits.per_address,
            ("all",): limits.in_all,
        }

    def _count(self, bucket: _Bucket, at: float) -> int:
        spent = self._spent.get(bucket)
        while spent and spent[0] <= at - self._limits.window:
            spent.popleft()
        return len(spent or ())


def _kept(table: OrderedDict[K, V], key: K, value: V) -> V:
    table[key] = value
    table.move_to_end(key)
    if len(table) > _MAX_KEPT:
        table.popitem(last=False)
    return value
