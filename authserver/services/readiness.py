"""May this process be sent requests: whatever fails closed must do its work, and the process must not be about to end.

A look costs a write that is made durable, so what it found counts for a second: probes never load the disk.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from authserver import clock
from authserver.errors import Unavailable
from authserver.services.ports import ReplayGuard, Signer

KEEP_SECONDS = 1.0
"""For how long a finding counts, from the end of the look."""

PATIENCE_SECONDS = 1.0
"""How long a probe waits for the look that another one makes; a database that takes longer is as good as down."""

CLOCK_BACK_SECONDS = 60
"""By how much this clock may be behind the latest moment that a purge wrote down (threat B14)."""

_NOBODY = ""  # no client can have this id, so a probe's jti is nobody's
_FAILED_OVER = "database_failed_over"
_NO_ANSWER = "storage_unavailable"

Check = Callable[[int], None]
"""Looks at one dependency at this moment (epoch seconds); raises Unavailable when it does not do its work."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a look found: the first failure, or none; until when it counts, in ticks."""

    failure: Unavailable | None
    until: float


class Readiness:
    """The answer to a load balancer; one for a process. Every check must pass, in the order given."""

    def __init__(self, checks: Sequence[Check], *, ticks: Callable[[], float] = clock.ticks) -> None:
        self._checks, self._ticks = list(checks), ticks
        self._finding = _Finding(None, float("-inf"))
        self._looking = Lock()
        self._drains = False

    def add(self, check: Check) -> None:
        """Let one more dependency be looked at."""
        self._checks.append(check)

    def drain(self) -> None:
        """Be ready no more, from the next question on; waits for nothing, so a signal's handler may call it."""
        self._drains = True

    def require(self, *, now: int) -> None:
        """Return when requests may be sent here; raises Unavailable with the reason of the first that forbids it."""
        if self._drains:
            raise Unavailable(detail="the server was told to stop", reason="draining")
        failure = self._present(now).failure
        if failure is not None:
            # An exception of its own for each: raising one object in several threads mixes their traces.
            raise Unavailable(detail=failure.detail, reason=failure.reason)

    def _present(self, now: int) -> _Finding:
        if not self._looking.acquire(timeout=PATIENCE_SECONDS):
            raise Unavailable(detail=f"a look at the dependencies takes longer than {PATIENCE_SECONDS:.0f} s")
        try:
            if self._ticks() >= self._finding.until:
                failure = self._look(now)
                self._finding = _Finding(failure, self._ticks() + KEEP_SECONDS)
            return self._finding
        finally:
            self._looking.release()

    def _look(self, now: int) -> Unavailable | None:
        try:
            for check in self._checks:
                check(now)
        except Unavailable as error:
            return error
        return None


def database_reads(ping: Callable[[], None]) -> Check:
    """Return the check that the database answers; `ping` raises StorageUnavailable when it does not."""
    return lambda _now: ping()


def database_writes(replay_guard: ReplayGuard) -> Check:
    """Return the check that a jti can be claimed, durably, and that the clock is not behind what a purge wrote down.

    It claims a jti of nobody the way every assertion's is claimed: a full disk, a file that was made read-only and a
    server that takes no writes are seen where they would hurt. The claim is forgotten by a purge a minute later.
    """

    def check(now: int) -> None:
        try:
            replay_guard.claim(_NOBODY, secrets.token_hex(16), until=now + CLOCK_BACK_SECONDS)
        except Unavailable as error:
            if error.reason == _FAILED_OVER:
                return  # it was written; that assertions of before are refused for a while is no reason to send none
            if error.reason == _NO_ANSWER:
                raise Unavailable(detail=error.detail, reason="storage_not_writable") from error
            raise

    return check


def a_key_signs(signer: Signer) -> Check:
    """Return the check that there is a key, loaded, that may sign now."""

    def check(_now: int) -> None:
        if not any(key.active for key in signer.list_keys()):
            raise Unavailable(detail="no key was published long enough to sign", reason="no_signing_key")

    return check
