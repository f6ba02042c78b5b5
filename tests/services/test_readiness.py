"""When a process may be sent requests: over fakes of its ports, and a clock that the test moves."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from authserver.adapters.memory import MemoryReplayGuard
from authserver.errors import StorageUnavailable, Unavailable
from authserver.services.ports import KeyInfo
from authserver.services.readiness import (
    CLOCK_BACK_SECONDS,
    KEEP_SECONDS,
    PATIENCE_SECONDS,
    Check,
    Readiness,
    a_key_signs,
    database_reads,
    database_writes,
)
from tests.builders import NOW


@dataclass
class Guard:
    """A ReplayGuard that does as it is told and keeps what it was asked to claim."""

    failure: StorageUnavailable | None = None
    claims: list[tuple[str, str, int]] = field(default_factory=list)

    def claim(self, client_id: str, jti: str, *, until: int) -> bool:
        """Claim, or fail."""
        self.claims.append((client_id, jti, until))
        if self.failure is not None:
            raise self.failure
        return True

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether it was claimed."""
        return any(claim[:2] == (client_id, jti) for claim in self.claims)

    def purge(self, *, before: int) -> int:
        """Forget nothing."""
        return 0


@dataclass
class Keys:
    """The part of a Signer that is asked: which keys there are."""

    keys: tuple[KeyInfo, ...]

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return them."""
        return self.keys


def reason_of(check: Callable[[], None]) -> str | None:
    """Return the reason of the refusal, None when there is none."""
    try:
        check()
    except Unavailable as error:
        return error.reason
    return None


def reason_at(check: Check, now: int = NOW) -> str | None:
    return reason_of(lambda: check(now))


# The checks


def test_a_database_that_does_not_answer_is_not_ready() -> None:
    def silent() -> None:
        raise StorageUnavailable(detail="no answer")

    assert reason_at(database_reads(silent)) == "storage_unavailable"
    assert reason_at(database_reads(lambda: None)) is None


def test_a_probe_claims_a_jti_of_nobody_and_never_the_same() -> None:
    """What can be claimed is what an assertion's jti would be: durably, by the same writer."""
    guard = Guard()
    check = database_writes(guard)

    check(NOW)
    check(NOW)

    assert [(client_id, until) for client_id, _, until in guard.claims] == [("", NOW + CLOCK_BACK_SECONDS)] * 2
    assert len({jti for _, jti, _ in guard.claims}) == 2


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("storage_unavailable", "storage_not_writable"),
        ("clock_set_back", "clock_set_back"),
        ("database_failed_over", None),
    ],
)
def test_a_claim_that_fails_is_not_ready_unless_it_was_written(reason: str, told: str | None) -> None:
    """After a failover new assertions are taken within seconds, so the server stays in."""
    guard = Guard(StorageUnavailable(detail="why", reason=reason))

    assert reason_at(database_writes(guard)) == told


def test_a_clock_more_than_a_minute_behind_the_purge_is_not_ready() -> None:
    """B14: by what a purge wrote down, whichever server's clock that was."""
    guard = MemoryReplayGuard()
    guard.purge(before=NOW)
    check = database_writes(guard)

    found = {back: reason_at(check, NOW - back) for back in (0, CLOCK_BACK_SECONDS, CLOCK_BACK_SECONDS + 1)}

    assert found == {0: None, CLOCK_BACK_SECONDS: None, CLOCK_BACK_SECONDS + 1: "clock_set_back"}


@pytest.mark.parametrize(("active", "reason"), [(True, None), (False, "no_signing_key")])
def test_without_a_key_that_may_sign_now_it_is_not_ready(*, active: bool, reason: str | None) -> None:
    keys = Keys((KeyInfo("waiting", "ES256", NOW, False), KeyInfo("present", "ES256", NOW, active)))

    assert reason_at(a_key_signs(keys)) == reason  # type: ignore[arg-type] # only list_keys() is asked


# Readiness


@dataclass
class Looks:
    """A check that counts how often it is asked, and fails when it is told to."""

    failure: Unavailable | None = None
    times: int = 0
    ticks: float = 0.0

    def __call__(self, now: int) -> None:
        """Look."""
        self.times += 1
        if self.failure is not None:
            raise self.failure

    def readiness(self, *others: Check) -> Readiness:
        """Return a Readiness that asks this check first, in this one's time."""
        return Readiness([self, *others], ticks=lambda: self.ticks)


def test_every_check_must_pass_and_the_first_that_fails_is_the_reason() -> None:
    def fail(now: int) -> None:
        raise Unavailable(reason="no_signing_key")

    looks = Looks()

    assert reason_of(lambda: looks.readiness().require(now=NOW)) is None
    assert reason_of(lambda: looks.readiness(fail, database_writes(Guard())).require(now=NOW)) == "no_signing_key"


def test_a_check_that_is_added_counts() -> None:
    readiness = Looks().readiness()
    readiness.add(Looks(Unavailable(reason="storage_unavailable")))

    assert reason_of(lambda: readiness.require(now=NOW)) == "storage_unavailable"


@pytest.mark.parametrize("failure", [None, Unavailable(reason="storage_unavailable")])
def test_a_finding_counts_for_a_second(failure: Unavailable | None) -> None:
    """Probes never load the disk, whether they pass or fail; then the next look decides."""
    looks = Looks(failure)
    readiness = looks.readiness()
    answers = []

    for ticks in (0.0, KEEP_SECONDS - 0.01, KEEP_SECONDS):
        looks.ticks = ticks
        answers.append((reason_of(lambda: readiness.require(now=NOW)), looks.times))

    reason = None if failure is None else failure.reason
    assert answers == [(reason, 1), (reason, 1), (reason, 2)]


def test_a_recovery_is_seen_by_the_next_look() -> None:
    looks = Looks(Unavailable(reason="storage_unavailable"))
    readiness = looks.readiness()
    before = reason_of(lambda: readiness.require(now=NOW))

    looks.failure, looks.ticks = None, KEEP_SECONDS

    assert (before, reason_of(lambda: readiness.require(now=NOW))) == ("storage_unavailable", None)


def test_draining_counts_at_once_and_for_ever() -> None:
    """A finding that is still good does not delay it, and nothing is looked at any more."""
    looks = Looks()
    readiness = looks.readiness()
    readiness.require(now=NOW)

    readiness.drain()
    looks.ticks = 10 * KEEP_SECONDS

    assert (reason_of(lambda: readiness.require(now=NOW)), looks.times) == ("draining", 1)


def test_a_look_that_hangs_holds_up_nobody_for_long() -> None:
    """A second probe says no instead of taking one thread after the other; the first one's finding comes later."""
    begun, answers = threading.Event(), threading.Event()

    def hang(now: int) -> None:
        begun.set()
        answers.wait(30)

    readiness = Readiness([hang])
    first = threading.Thread(target=readiness.require, kwargs={"now": NOW})
    first.start()
    begun.wait(30)

    meanwhile = reason_of(lambda: readiness.require(now=NOW))
    answers.set()
    first.join()

    assert PATIENCE_SECONDS <= 1
    assert (meanwhile, reason_of(lambda: readiness.require(now=NOW))) == ("unavailable", None)
