"""The count of the registry's changes in memory, for the stores in memory."""

import threading


class MemoryChanges:
    """Changes (see the port) as a count of this process."""

    def __init__(self) -> None:
        self._number = 0
        self._lock = threading.Lock()

    def number(self) -> int:
        """Return the present number."""
        return self._number

    def at_hand(self) -> int | None:
        """Return the present number."""
        return self._number

    def count(self) -> int:
        """Count a change; return its number."""
        with self._lock:
            self._number += 1
            return self._number
