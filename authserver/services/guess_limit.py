"""How many tokens that are none of ours a caller may ask about in a minute: nobody needs to guess (threat F03)."""

from collections import OrderedDict
from threading import Lock

from authserver.errors import TooManyRequests

WINDOW_SECONDS = 60
MAX_CALLERS = 10_000
"""Callers that are counted at a time; the one that guessed first goes first."""


class GuessLimit:
    """Counts per caller and minute, in this process. Tokens of ours, expired and revoked ones too, are no guesses."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lock = Lock()

    def guessed(self, caller_id: str, *, now: int) -> None:
        """Count a guess of this caller; raises TooManyRequests (`introspection_guesses`) for one too many."""
        window = now // WINDOW_SECONDS
        with self._lock:
            began, count = self._counts.get(caller_id, (window, 0))
            count = count + 1 if began == window else 1
            self._counts[caller_id] = window, count
            while len(self._counts) > MAX_CALLERS:
                self._counts.popitem(last=False)
        if count > self._limit:
            raise TooManyRequests(detail=f"{caller_id}: {count} tokens of nobody", reason="introspection_guesses")
