"""How many fetches callers may cause who prove nobody (threats C08 and C10)."""

import pytest

from authserver.adapters.fetch_budget import FetchBudget, FetchLimits
from tests.adapters.test_jwks_cache import Clock

A, B = "https://a.example/jwks", "https://b.example/jwks"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> FetchBudget:
    return FetchBudget(FetchLimits(per_source=3, per_address=5, in_all=8), monotonic=clock)


def spent(budget: FetchBudget, *requests: tuple[str, str]) -> list[bool]:
    return [budget.spend(address, source=source) for address, source in requests]


def test_the_promised_limits() -> None:
    """docs/client-keys.md states them."""
    assert FetchLimits() == FetchLimits(per_source=30, per_address=10, in_all=300, window=60, known_for=3_600)


def test_a_source_has_a_limit_over_all_addresses(budget: FetchBudget) -> None:
    """C10; another source is as free as before."""
    assert spent(budget, (A, "s"), (B, "s"), (A, "s"), (B, "s"), (B, "t")) == [True, True, True, False, True]


def test_an_address_has_a_limit_over_all_sources(budget: FetchBudget) -> None:
    """C08."""
    assert spent(budget, *[(A, str(n)) for n in range(6)], (B, "7")) == [True] * 5 + [False, True]


def test_strangers_have_a_limit_together(budget: FetchBudget) -> None:
    """C10."""
    assert spent(budget, *[(str(n), str(n)) for n in range(9)]) == [True] * 8 + [False]


def test_the_window_moves_on(budget: FetchBudget, clock: Clock) -> None:
    spent(budget, *[(A, "s")] * 3)
    clock.at += 59.9
    before = spent(budget, (A, "s"))
    clock.at += 0.1

    assert (before, spent(budget, (A, "s"))) == ([False], [True])


def test_a_refused_fetch_costs_nothing(budget: FetchBudget, clock: Clock) -> None:
    spent(budget, *[(A, "s")] * 3)
    clock.at += 30
    spent(budget, *[(A, "s")] * 100)
    clock.at += 30

    assert spent(budget, *[(A, "s")] * 4) == [True, True, True, False]


def test_a_proof_takes_the_charge_back(budget: FetchBudget) -> None:
    """X54: whoever proves a client each time is never refused."""
    for _ in range(100):
        assert budget.spend(A, source="s")
        budget.forgive(A, source="s")


def test_a_proof_elsewhere_takes_nothing_back(budget: FetchBudget) -> None:
    """C10: a client of one's own buys no fetch of another's keys."""
    spent(budget, *[(A, "s")] * 3)
    budget.forgive(B, source="s")

    assert spent(budget, (A, "s")) == [False]


def test_a_known_source_is_not_locked_out_by_strangers(budget: FetchBudget) -> None:
    """C09: the address's and the common limit are used up by others."""
    budget.forgive(A, source="clinic")
    spent(budget, *[(A, str(n)) for n in range(5)], *[(str(n), str(n)) for n in range(3)])

    assert spent(budget, (A, "new"), (A, "clinic"), (B, "clinic")) == [False, True, False]


def test_a_known_source_has_a_limit_too(budget: FetchBudget) -> None:
    budget.forgive(A, source="clinic")

    assert spent(budget, *[(A, "clinic")] * 6) == [True] * 5 + [False]


def test_a_proof_lasts_an_hour(budget: FetchBudget, clock: Clock) -> None:
    budget.forgive(A, source="clinic")
    clock.at += 3_600
    spent(budget, *[(A, str(n)) for n in range(5)])

    assert spent(budget, (A, "clinic")) == [False]
