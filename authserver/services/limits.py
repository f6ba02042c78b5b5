"""How often a proven client may ask, and how often a client or an address may be refused (rows X26, X54).

Success and failure are counted apart, and what proves nobody is counted by address. A refusal that is one too many
becomes a 429; a request that proves its client is answered, whatever others do behind the same address.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from authserver import clock
from authserver.errors import AuthServerError, InvalidClient, TooManyRequests

CLIENT_RATE, CLIENT_FAILURES, SOURCE_FAILURES = "client_rate", "client_failures", "source_failures"
MAX_KEPT = 50_000
"""Clients or addresses of one budget that are known at a time; one that spent nothing lately needs no place."""

TOLD_SHARE = 100
"""What is less than this part of a limit is not told to other processes yet: it will be with what comes after it."""

MAX_TOLD = 500
"""Of how many clients or addresses a budget tells in one round, those that spent most."""


@dataclass(frozen=True, slots=True)
class LimitRules:
    """The operator's limits; 0 is none. The rate is a second's requests, the others are a minute's refusals."""

    client_rate: int = 0
    client_failures: int = 0
    source_failures: int = 0


class Budget:
    """`limit` within `window` seconds for each name: all of it at once, or spread, and never more on average.

    Of each name only the moment is kept at which it will have its whole budget again (GCRA, ATM Forum TM 4.0 section
    4.4.2): one that lies in the past is worth no place. Safe for use by several threads.
    """

    def __init__(
        self, limit: int, *, window: float, ticks: Callable[[], float] = clock.ticks, max_kept: int = MAX_KEPT
    ) -> None:
        self.limit = limit
        self._step, self._window, self._ticks, self._max_kept = window / limit, window, ticks, max_kept
        self._whole_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}
        self._lock = Lock()

    def wait(self, name: str) -> float:
        """Return in how many seconds one more is allowed; 0 now."""
        whole_at = self._whole_at.get(name)
        if whole_at is None:
            return 0.0
        early = whole_at + self._step - self._window - self._ticks()
        return early if early > self._step / 1_000 else 0.0  # less is what adding up loses

    def spend(self, name: str) -> None:
        """Count one."""
        with self._lock:
            now, whole_at, untold = self._ticks(), self._whole_at, self._untold
            owed_until = whole_at.get(name, now)
            whole_at[name] = (now if owed_until < now else owed_until) + self._step
            untold[name] = untold.get(name, 0) + 1
            if len(whole_at) > self._max_kept:
                self._make_room(now)

    def learn(self, spent: Mapping[str, int]) -> None:
        """Count what other processes let be spent."""
        with self._lock:
            now = self._ticks()
            for name, count in spent.items():
                self._whole_at[name] = max(now, self._whole_at.get(name, now)) + count * self._step
            if len(self._whole_at) > self._max_kept:
                self._make_room(now)

    def news(self) -> dict[str, int]:
        """Return what was spent here and not told yet; small amounts wait for more."""
        least = max(1, self.limit // TOLD_SHARE)
        with self._lock:
            worth = [(count, name) for name, count in self._untold.items() if count >= least]
            told = {name: count for count, name in sorted(worth, reverse=True)[:MAX_TOLD]}
            for name in told:
                del self._untold[name]
        return told

    def _make_room(self, now: float) -> None:
        """Forget who has a whole budget; then, if that is not enough, the tenth that is known longest."""
        self._whole_at = {name: at for name, at in self._whole_at.items() if at > now}
        if len(self._whole_at) > self._max_kept * 9 // 10:
            for name in list(self._whole_at)[: self._max_kept // 10]:
                del self._whole_at[name]
        self._untold = {name: count for name, count in self._untold.items() if name in self._whole_at}


class Limits:
    """What one process counts, and says to who asks too often."""

    def __init__(self, rules: LimitRules, *, ticks: Callable[[], float] = clock.ticks) -> None:
        windows = {
            CLIENT_RATE: (rules.client_rate, 1.0),
            CLIENT_FAILURES: (rules.client_failures, 60.0),
            SOURCE_FAILURES: (rules.source_failures, 60.0),
        }
        self.budgets = {
            name: Budget(limit, window=window, ticks=ticks) for name, (limit, window) in windows.items() if limit
        }
        self._rate = self.budgets.get(CLIENT_RATE)

    def admit(self, client_id: str) -> None:
        """Raise TooManyRequests (`client_rate`) when this proven client had its requests; counts nothing."""
        wait = 0.0 if self._rate is None else self._rate.wait(client_id)
        if wait > 0:
            error = TooManyRequests(detail=client_id, reason="client_rate", headers=_retry_after(wait))
            error.client_id = client_id
            raise error

    def served(self, client_id: str) -> None:
        """Count a request of this proven client that was answered."""
        if self._rate is not None:
            self._rate.spend(client_id)

    def refusal(self, error: AuthServerError, *, source: str | None) -> AuthServerError:
        """Count a refusal, and return what to say: this very error, or TooManyRequests where it is one too many.

        A proven client is counted by its id (`client_failures`), everybody else by `source`, see
        protocol.source_address (`source_failures`).
        """
        if _is_nobodys(error):
            return error
        # An id that an InvalidClient speaks of is only claimed: who counted by that could use up a stranger's budget.
        proven = None if isinstance(error, InvalidClient) else error.client_id
        if proven is not None:
            return self._counted(error, CLIENT_FAILURES, proven, reason="client_failures")
        return self._counted(error, SOURCE_FAILURES, source or "", reason="source_failures")

    def _counted(self, error: AuthServerError, name: str, whose: str, *, reason: str) -> AuthServerError:
        budget = self.budgets.get(name)
        if budget is None:
            return error
        wait = budget.wait(whose)
        if wait == 0:
            budget.spend(whose)
            return error
        told = TooManyRequests(detail=f"{whose}: {error.reason}", reason=reason, headers=_retry_after(wait))
        told.client_id = error.client_id
        return told


def _is_nobodys(error: AuthServerError) -> bool:
    """Say whether nobody failed: the fault is ours, or it is a 429 already, or an invitation to log in.

    A 401 to a request without credentials is how a client learns what to send; refusing it would refuse the client.
    """
    return error.status >= 500 or isinstance(error, TooManyRequests) or error.reason == "login_required"


def _retry_after(wait: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait)))}
