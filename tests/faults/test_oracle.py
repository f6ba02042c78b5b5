"""The oracle finds each kind of violation in a log made by hand, and nothing in a clean one."""

from dataclasses import replace

import pytest

from tests.faults.oracle import (
    Afterwards,
    Answered,
    Fault,
    Introspection,
    Registration,
    Replay,
    Revocation,
    TokenAnswer,
    check,
    recoveries,
)

FAULT = Fault("killed", began=1.0, ended=1.2)
TOKENS = [
    TokenAnswer(sent=at, at=at + 0.001, status=200, jti=f"jti-{number}", token=f"token-{number}")
    for number, at in enumerate([*(n / 250 for n in range(250)), *(1.5 + n / 250 for n in range(250))])
]
REVOKED = Revocation(sent=0.5, at=0.51, status=200, token="token-0")
REGISTERED = Registration(sent=0.6, at=0.61, status=200, client_id="a", version=3)
CLEAN: list[Answered] = [
    *TOKENS,
    REVOKED,
    REGISTERED,
    Introspection(sent=0.52, at=0.53, status=200, token="token-0", active=False),
    Introspection(sent=0.52, at=0.53, status=200, token="token-1", active=True),
    TokenAnswer(sent=0.999, at=1.0, status=0, jti="broken off"),
    TokenAnswer(sent=1.1, at=1.11, status=503, jti="unavailable"),
]
AFTER = Afterwards(
    versions={"a": 3},
    replays=[Replay("jti-0", 400, "jti_replayed"), Replay("broken off", 200), Replay("broken off", 400)],
    active={"token-0": False, "token-1": True},
)


def kinds(log: list[Answered], after: Afterwards = AFTER, fault: Fault = FAULT) -> list[str]:
    """Return the kinds of violations that the oracle finds."""
    return [violation.kind for violation in check(log, faults=[fault], after=after)]


def test_a_clean_log_is_clean() -> None:
    """A broken connection and a 503 inside the fault are no violation, nor is the late use of what was broken off."""
    assert kinds(CLEAN) == []
    assert recoveries(CLEAN, [FAULT]) == [pytest.approx(0.301)]


@pytest.mark.parametrize("versions", [{}, {"a": 2}])
def test_a_lost_registration_is_found(versions: dict[str, int]) -> None:
    """Fault 1: an acknowledged version must be readable."""
    assert kinds(CLEAN, replace(AFTER, versions=versions)) == ["registration lost"]


def test_an_unanswered_registration_may_be_there_or_not() -> None:
    """Nothing was promised."""
    unanswered = Registration(sent=1.0, at=1.1, status=0, client_id="b")

    assert kinds([*CLEAN, unanswered]) == []


@pytest.mark.parametrize(
    "replays", [[Replay("jti-0", 200)], [Replay("broken off", 200), Replay("broken off", 200)]], ids=["used", "broken"]
)
def test_an_assertion_that_is_good_twice_is_found(replays: list[Replay]) -> None:
    """B07: also where the first answer never came."""
    assert kinds(CLEAN, replace(AFTER, replays=replays)) == ["assertion accepted twice"]


def test_an_assertion_that_was_accepted_twice_in_the_log_is_found() -> None:
    """B08: two answers with one jti."""
    assert kinds([*CLEAN, TOKENS[0]]) == ["assertion accepted twice"]


@pytest.mark.parametrize("replay", [Replay("jti-0", 503), Replay("jti-0", 400, "exp_past")])
def test_a_replay_that_was_refused_for_another_reason_proves_nothing(replay: Replay) -> None:
    """B07: a used assertion is refused because it was used."""
    assert kinds(CLEAN, replace(AFTER, replays=[replay])) == ["replay not refused as one"]


def test_a_lost_revocation_is_found() -> None:
    """Fault 1: revoked never active again."""
    active = {"token-0": True, "token-1": True}

    assert kinds(CLEAN, replace(AFTER, active=active)) == ["revocation lost"]


def test_a_lost_token_is_found() -> None:
    """Nobody revoked it."""
    assert kinds(CLEAN, replace(AFTER, active={"token-1": False})) == ["token lost"]


def test_a_revoked_token_that_is_active_meanwhile_is_found() -> None:
    """F06: a question asked after the revocation was answered; one that was asked before may say so."""
    asked = Introspection(sent=0.52, at=0.53, status=200, token="token-0", active=True)

    assert kinds([*CLEAN, asked]) == ["revoked token active"]
    assert kinds([*CLEAN, replace(asked, sent=0.505)]) == []


@pytest.mark.parametrize(
    ("status", "at", "found"),
    [
        (500, 1.1, ["failure"]),
        (503, 1.1, []),
        (0, 1.1, []),
        (503, 0.5, ["failure"]),
        (0, 0.5, ["failure"]),
        (503, 2.0, ["failure"]),
        (400, 0.5, []),
    ],
)
def test_a_failure_is_excused_by_a_fault_alone(status: int, at: float, found: list[str]) -> None:
    """Inside 503 and broken connections, outside nothing: no other 5xx anywhere."""
    failed = TokenAnswer(sent=at, at=at + 0.01, status=status, jti="another")

    assert kinds([*CLEAN, failed]) == found


def test_a_late_recovery_is_found() -> None:
    """First 200 within 2 s."""
    late = [replace(one, sent=one.sent + 3, at=one.at + 3) if one.sent > 1.2 else one for one in TOKENS]

    assert kinds([*late, REVOKED, REGISTERED]) == ["late recovery"]


def test_a_server_that_never_comes_back_is_found() -> None:
    """Its recovery lasts for ever."""
    assert kinds([one for one in CLEAN if one.at < 1.4]) == ["late recovery"]


def test_a_run_that_was_not_busy_is_void() -> None:
    """Below 200 tokens a second a run proves nothing."""
    assert kinds([*TOKENS[::2], REVOKED, REGISTERED]) == ["void"]
    assert kinds([], Afterwards()) == ["late recovery", "void"]
