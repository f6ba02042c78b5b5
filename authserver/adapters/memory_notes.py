"""What is noted beside the registry, in memory: the last uses of API keys, and what processes tell each other."""

import threading
from collections.abc import Mapping, Sequence

Spent = Mapping[str, Mapping[str, int]]


class MemoryKeyUseStore:
    """KeyUseStore (see the port) over a dict."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def mark(self, uses: Mapping[str, int]) -> None:
        """Keep the moment for each key id, unless a later one is kept."""
        with self._lock:
            self._last.update({key_id: max(at, self._last.get(key_id, at)) for key_id, at in uses.items()})

    def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the moment kept for each of these keys that has one."""
        return {key_id: self._last[key_id] for key_id in key_ids if key_id in self._last}

    def purge(self, *, before: int) -> int:
        """Forget the uses of before this second; return how many."""
        with self._lock:
            old = [key_id for key_id, at in self._last.items() if at < before]
            for key_id in old:
                del self._last[key_id]
        return len(old)


class MemorySpendingBoard:
    """SpendingBoard (see the port) over a dict."""

    def __init__(self) -> None:
        self._notices: dict[str, tuple[int, Mapping[int, Spent]]] = {}
        self._lock = threading.Lock()

    def publish(self, member: str, rounds: Mapping[int, Spent], *, now: int) -> None:
        """Put up the notice of this process."""
        with self._lock:
            self._notices[member] = now, dict(rounds)

    def others(self, member: str, *, since: int) -> Mapping[str, Mapping[int, Spent]]:
        """Return the notices of all other processes put up since then."""
        with self._lock:
            return {name: rounds for name, (at, rounds) in self._notices.items() if name != member and at >= since}

    def purge(self, *, before: int) -> int:
        """Take down the notices put up before the given second; return how many."""
        with self._lock:
            old = [name for name, (at, _) in self._notices.items() if at < before]
            for name in old:
                del self._notices[name]
        return len(old)
