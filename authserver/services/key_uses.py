"""When an API key was last used, to the hour: noted beside the requests, written by whoever calls flush()."""

from collections.abc import Mapping, Sequence
from threading import Lock

from authserver.services.notes import KeyUseStore

GRAIN_SECONDS = 3_600
"""A use is known by the hour that it fell into: one write an hour for a key, however much it is used."""

MAX_NOTED = 20_000


class KeyUses:
    """Notes of one process over a store that all share."""

    def __init__(self, store: KeyUseStore) -> None:
        self._store = store
        self._noted: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._lock = Lock()

    def note(self, key_id: str, *, now: int) -> None:
        """Note that the key is used now (epoch seconds); waits for nothing."""
        hour = now - now % GRAIN_SECONDS
        if self._noted.get(key_id) == hour:
            return
        with self._lock:
            if len(self._noted) >= MAX_NOTED:
                self._noted.clear()  # which costs each key one more write
            self._noted[key_id] = hour
            if len(self._waiting) < MAX_NOTED:
                self._waiting[key_id] = hour

    def flush(self) -> None:
        """Write what was noted; raises StorageUnavailable, and it stays noted."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            self._store.mark(waiting)
        except Exception:
            with self._lock:
                self._waiting = waiting | self._waiting
            raise

    def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the hour (its first second) of each key's last use, without the keys that never were used."""
        with self._lock:
            waiting = {key_id: self._waiting[key_id] for key_id in key_ids if key_id in self._waiting}
        return {**self._store.last_used(key_ids), **waiting}
