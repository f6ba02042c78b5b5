"""Budgets of clients and addresses, with time as a number. Rows X26 and X54."""

from dataclasses import dataclass, field

import pytest

from authserver.errors import (
    AuthServerError,
    InvalidClient,
    InvalidScope,
    LoginRequired,
    StorageUnavailable,
    TooManyRequests,
    UnauthorizedClient,
)
from authserver.services.limits import MAX_TOLD, Budget, LimitRules, Limits

HERE, THERE = "192.0.2.1", "192.0.2.2"


@dataclass
class Ticks:
    """A clock that goes on when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gate:
    """A Budget and who gets through."""

    limit: int = 5
    window: float = 60.0
    max_kept: int = 100
    ticks: Ticks = field(default_factory=Ticks)

    def __post_init__(self) -> None:
        self.budget = Budget(self.limit, window=self.window, ticks=self.ticks, max_kept=self.max_kept)

    def tries(self, times: int, name: str = "a") -> int:
        """Try to spend as often; return how often it was allowed."""
        allowed = 0
        for _ in range(times):
            if self.budget.wait(name) == 0:
                self.budget.spend(name)
                allowed += 1
        return allowed


def about(error: AuthServerError, client_id: str) -> AuthServerError:
    """Return the error as one about this client."""
    error.client_id = client_id
    return error


def said(error: AuthServerError) -> tuple[int, str, str | None]:
    """Return what tells refusals apart."""
    return error.status, error.reason, error.headers.get("Retry-After")


# A budget


def test_the_whole_budget_may_be_spent_at_once_and_comes_back_evenly() -> None:
    gate = Gate(limit=5, window=60)

    at_once = gate.tries(20)
    gate.ticks.now += 11.9
    too_soon = gate.tries(20)
    gate.ticks.now += 0.1
    one_more = gate.tries(20)
    gate.ticks.now += 60
    whole = gate.tries(20)

    assert (at_once, too_soon, one_more, whole) == (5, 0, 1, 5)


@pytest.mark.parametrize(("limit", "window"), [(1, 1.0), (100, 60.0), (7, 60.0), (10_000, 1.0)])
def test_no_budget_loses_anything_to_rounding(limit: int, window: float) -> None:
    assert Gate(limit, window).tries(limit + 10) == limit


def test_the_wait_is_until_one_more_is_allowed() -> None:
    gate = Gate(limit=5, window=60)
    gate.tries(5)

    before = gate.budget.wait("a")
    gate.ticks.now += before

    assert (before, gate.budget.wait("a")) == (pytest.approx(12), 0)


def test_one_spends_nothing_of_another() -> None:
    gate = Gate()
    gate.tries(20, "a")

    assert (gate.tries(20, "a"), gate.tries(20, "b")) == (0, 5)


def test_what_others_let_be_spent_is_counted_as_a_debt() -> None:
    """Four processes that each let the whole budget through in one moment pay it back together."""
    gate = Gate(limit=60, window=60)
    gate.tries(60)
    gate.budget.learn({"a": 180, "b": 1})

    gate.ticks.now += 180
    still = gate.tries(1)
    gate.ticks.now += 1
    over = gate.tries(5)

    assert (still, over, gate.tries(60, "b")) == (0, 1, 60)


def test_memory_is_bounded_and_forgets_first_who_owes_nothing() -> None:
    """A flood from many addresses costs a bounded table; who spent his budget is not forgiven by it while there is
    room without him."""
    gate = Gate(limit=5, window=60, max_kept=100)
    for number in range(80):
        gate.budget.spend(f"old-{number}")
    gate.ticks.now += 60
    gate.tries(5, "spender")

    for number in range(60):
        gate.budget.spend(f"new-{number}")

    assert gate.tries(1, "spender") == 0


@pytest.mark.parametrize("way", ["spent here", "told by others"])
def test_memory_stays_bounded_though_everybody_owes(way: str) -> None:
    """Who is known longest is forgiven, the last ones are remembered."""
    gate = Gate(limit=5, window=60, max_kept=100)

    for number in range(1_000):
        if way == "spent here":
            gate.tries(5, f"source-{number}")
        else:
            gate.budget.learn({f"source-{number}": 5})
    told = gate.budget.news()

    assert (gate.tries(5, "source-999"), gate.tries(5, "source-0"), len(told) <= 100) == (0, 5, True)


def test_news_are_told_once_and_small_amounts_wait() -> None:
    """Less than a hundredth of a limit is not worth a message yet."""
    gate = Gate(limit=1_000, window=1)
    gate.tries(9, "small")
    gate.tries(10, "large")

    first = gate.budget.news()
    gate.tries(1, "small")

    assert (first, gate.budget.news(), gate.budget.news()) == ({"large": 10}, {"small": 10}, {})


def test_news_tell_of_those_who_spent_most_and_of_the_others_later() -> None:
    gate = Gate(limit=100, window=60, max_kept=10_000)
    for number in range(MAX_TOLD + 10):
        gate.tries(2 if number < MAX_TOLD else 1, f"n{number}")

    first, second = gate.budget.news(), gate.budget.news()

    assert (len(first), set(first.values()), len(second), set(second.values())) == (MAX_TOLD, {2}, 10, {1})


# Clients and addresses


def test_a_client_that_asks_too_often_is_told_when_to_come_again() -> None:
    """X54: 429 with Retry-After for this client, and nothing for another."""
    ticks = Ticks()
    limits = Limits(LimitRules(client_rate=2), ticks=ticks)
    for _ in range(2):
        limits.admit("busy")
        limits.served("busy")

    with pytest.raises(TooManyRequests) as refused:
        limits.admit("busy")
    limits.admit("neighbour")
    ticks.now += 0.5
    limits.admit("busy")

    assert said(refused.value) == (429, "client_rate", "1")
    assert (refused.value.oauth_code, refused.value.client_id) == ("slow_down", "busy")


def test_a_request_that_was_not_answered_costs_nothing_of_the_rate() -> None:
    """X54: success and failure are apart, so who replays a client's assertions takes nothing from it."""
    limits = Limits(LimitRules(client_rate=2, client_failures=2, source_failures=2), ticks=Ticks())

    for _ in range(10):
        limits.admit("victim")
        limits.refusal(about(InvalidScope(), "victim"), source=HERE)
        limits.refusal(about(InvalidClient(reason="jti_replayed"), "victim"), source=HERE)
    for _ in range(2):
        limits.admit("victim")
        limits.served("victim")
    with pytest.raises(TooManyRequests) as refused:
        limits.admit("victim")

    assert (refused.value.reason, refused.value.client_id) == ("client_rate", "victim")


def test_the_failures_of_a_proven_client_are_its_own() -> None:
    """X54: whatever the address, and apart from what others do there."""
    limits = Limits(LimitRules(client_failures=2, source_failures=2), ticks=Ticks())

    own = [limits.refusal(about(UnauthorizedClient(), "a"), source=HERE) for _ in range(3)]
    elsewhere = limits.refusal(about(UnauthorizedClient(), "a"), source=THERE)
    neighbour = limits.refusal(about(UnauthorizedClient(), "b"), source=HERE)
    stranger = limits.refusal(InvalidClient(), source=HERE)

    assert [error.status for error in own] == [400, 400, 429]
    assert (own[2].reason, own[2].headers["Retry-After"], own[2].client_id) == ("client_failures", "30", "a")
    assert [error.status for error in (elsewhere, neighbour, stranger)] == [429, 400, 400]


def test_who_proves_nobody_is_counted_by_address() -> None:
    """X26, X54: whichever client is named; another address is not hurt."""
    ticks = Ticks()
    limits = Limits(LimitRules(client_failures=2, source_failures=2), ticks=ticks)

    here = [limits.refusal(about(InvalidClient(), f"guess-{n}"), source=HERE) for n in range(4)]
    there = limits.refusal(about(InvalidClient(), "guess-1"), source=THERE)
    ticks.now += 30
    later = limits.refusal(LoginRequired(reason="basic_refused"), source=HERE)

    assert [said(error) for error in here[:2]] == [(400, "client_not_authenticated", None)] * 2
    assert [said(error) for error in here[2:]] == [(429, "source_failures", "30")] * 2
    assert (there.status, later.status) == (400, 401)


@pytest.mark.parametrize(
    "error", [LoginRequired(), StorageUnavailable(), TooManyRequests(reason="introspection_guesses")]
)
def test_what_is_nobodys_failure_is_not_counted(error: AuthServerError) -> None:
    """A challenge, a fault of ours, a 429: said as they are, however often."""
    limits = Limits(LimitRules(source_failures=1), ticks=Ticks())

    answers = [limits.refusal(error, source=HERE) for _ in range(5)]
    first = limits.refusal(InvalidClient(), source=HERE)

    assert (answers, first.status) == ([error] * 5, 400)


def test_without_limits_nobody_is_limited() -> None:
    limits = Limits(LimitRules(), ticks=Ticks())

    for _ in range(1_000):
        limits.admit("a")
        limits.served("a")
    refusals = {limits.refusal(InvalidClient(), source=HERE).status for _ in range(1_000)}

    assert (refusals, limits.budgets) == ({400}, {})
