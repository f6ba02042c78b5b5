"""Ports of what is noted beside the registry: the last uses of API keys, and what processes tell each other."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class KeyUseStore(Protocol):
    """When each key was last used, roughly: API keys, and in a store of their own the keys of clients."""

    def mark(self, uses: Mapping[str, int]) -> None:
        """Keep the moment (epoch seconds) for each key id, unless a later one is kept; raises StorageUnavailable."""

    def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the moment kept for each of these keys that has one."""

    def purge(self, *, before: int) -> int:
        """Forget the uses of before this second (epoch seconds); return how many."""


Spent = Mapping[str, Mapping[str, int]]
"""How much was spent of each budget: budget -> whose -> count."""


class SpendingBoard(Protocol):
    """Where the processes tell each other what they let be spent: one notice each, which replaces its former one."""

    def publish(self, member: str, rounds: Mapping[int, Spent], *, now: int) -> None:
        """Put up the notice of this process: its last rounds by number; `now` in epoch seconds.

        Raises StorageUnavailable.
        """

    def others(self, member: str, *, since: int) -> Mapping[str, Mapping[int, Spent]]:
        """Return the notices of all other processes put up at this second or later."""

    def purge(self, *, before: int) -> int:
        """Take down the notices put up before the given second; return how many."""
