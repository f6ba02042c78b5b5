"""What a process knows without asking: never more than the database would say."""

from collections.abc import Callable
from typing import Any

import pytest

from authserver.adapters.memory import MemoryRevocationList
from authserver.adapters.memory_changes import MemoryChanges
from authserver.protocol.jwks import JwkSet
from authserver.services.at_hand import (
    HasherAtHand,
    JwksAtHand,
    Kept,
    KeptRevocations,
    NotAtHand,
    Present,
    ReplayGuardAtHand,
    RevocationsAtHand,
)
from tests.builders import JWKS_URI, PlainHasher, StaticJwks

FAR = 4_000_000_000


class Unsure(MemoryChanges):
    """Changes that nobody can tell at the moment."""

    def at_hand(self) -> int | None:
        """Know nothing."""
        return None


def test_a_kept_value_is_good_until_something_changes() -> None:
    """X46, X50."""
    changes = MemoryChanges()
    kept: Kept[str, str] = Kept(changes, size=2)
    present = Present(changes)
    kept.read("a", lambda: "first")
    present.look()
    before = kept.get("a", present)

    changes.count()
    present.look()

    assert before == "first"
    with pytest.raises(NotAtHand):
        kept.get("a", present)


def test_a_change_while_asking_leaves_the_value_old() -> None:
    """X50: the state is looked up before the question."""
    changes = MemoryChanges()
    kept: Kept[str, str] = Kept(changes, size=2)

    def ask() -> str:
        changes.count()
        return "read just before, or just after"

    kept.read("a", ask)
    present = Present(changes)
    present.look()

    with pytest.raises(NotAtHand):
        kept.get("a", present)


def test_values_of_any_state_tell_how_old_they_are() -> None:
    changes = MemoryChanges()
    kept: Kept[str, str] = Kept(changes, size=2)
    kept.read("a", lambda: "old")
    changes.count()
    kept.read("b", lambda: "new")
    present = Present(changes)

    present.take_any()
    used = kept.get("b", present), kept.get("a", present)

    assert (used, present.oldest) == (("new", "old"), 0)


def test_only_so_many_values_are_kept_and_nothing_is_no_value() -> None:
    changes = MemoryChanges()
    kept: Kept[str, str | None] = Kept(changes, size=2)
    for name in ("a", "b", "c"):
        kept.read(name, lambda: "value")
    kept.read("none", lambda: None)
    present = Present(changes)
    present.look()

    found = [name for name in ("a", "b", "c", "none") if _has(lambda name=name: kept.get(name, present))]  # type: ignore[misc]

    assert found == ["b", "c"]


def _has(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except NotAtHand:
        return False
    return True


def test_nothing_is_kept_or_present_while_nobody_can_tell_the_state() -> None:
    """When the database does not answer, nothing is known."""
    kept: Kept[str, str] = Kept(Unsure(), size=2)

    kept.read("a", lambda: "value")

    with pytest.raises(NotAtHand):
        Present(Unsure()).look()
    with pytest.raises(NotAtHand):
        kept.get("a", Present(Unsure()))


def revocations(*, max_kept: int = 10) -> tuple[KeptRevocations, RevocationsAtHand, Present]:
    """Return the list with its copy, the copy's view, and the present state."""
    changes = MemoryChanges()
    present = Present(changes)
    kept = KeptRevocations(MemoryRevocationList(changes), changes, max_kept=max_kept)
    return kept, RevocationsAtHand(kept, present), present


def test_the_copy_says_what_the_list_says() -> None:
    """F06."""
    kept, at_hand, present = revocations()
    kept.revoke("dead", until=FAR)
    kept.is_revoked("any", expires_at=FAR)
    present.look()

    assert (at_hand.is_revoked("dead", expires_at=FAR), at_hand.is_revoked("other", expires_at=FAR)) == (True, False)


def test_the_copy_says_nothing_after_a_change_until_it_caught_up() -> None:
    """F06: a revocation made meanwhile."""
    kept, at_hand, present = revocations()
    kept.is_revoked("any", expires_at=FAR)
    kept.revoke("dead", until=FAR)
    present.look()

    with pytest.raises(NotAtHand):
        at_hand.is_revoked("dead", expires_at=FAR)
    assert kept.is_revoked("dead", expires_at=FAR)
    assert at_hand.is_revoked("dead", expires_at=FAR)


def test_what_a_purge_may_have_forgotten_is_revoked_in_the_copy_too() -> None:
    """B14, F06."""
    kept, at_hand, present = revocations()
    kept.revoke("old", until=100)
    kept.is_revoked("any", expires_at=FAR)
    kept.purge(before=200)
    kept.revoke("other", until=FAR)
    kept.is_revoked("any", expires_at=FAR)
    present.look()

    assert [at_hand.is_revoked("x", expires_at=moment) for moment in (199, 200)] == [True, False]


def test_too_long_a_list_is_not_copied() -> None:
    kept, at_hand, present = revocations(max_kept=1)
    for name in ("a", "b"):
        kept.revoke(name, until=FAR)
    kept.is_revoked("any", expires_at=FAR)
    present.look()

    with pytest.raises(NotAtHand):
        at_hand.is_revoked("a", expires_at=FAR)
    kept.revoke("c", until=FAR)
    assert [kept.is_revoked(name, expires_at=FAR) for name in ("c", "d")] == [True, False]


def test_only_a_secret_that_was_right_is_right_at_hand() -> None:
    """F03: a wrong one costs the whole hash, in a thread."""
    hasher = HasherAtHand(PlainHasher())

    assert hasher.verify("right", "plain:right")
    assert not hasher.remembers("wrong", "plain:right")
    for secret_hash in ("plain:right", None):
        with pytest.raises(NotAtHand):
            hasher.verify("wrong", secret_hash)


_JWKS = JwksAtHand(StaticJwks())
_GUARD = ReplayGuardAtHand()
_, _REVOCATIONS, _ = revocations()


@pytest.mark.parametrize(
    "wait",
    [
        lambda: _JWKS.keys(JWKS_URI, kid="k", now=1),
        lambda: _GUARD.claim("a", "j", until=1),
        lambda: _GUARD.was_claimed("a", "j"),
        lambda: _GUARD.purge(before=1),
        lambda: _REVOCATIONS.revoke("j", until=1),
        lambda: _REVOCATIONS.since(0),
        lambda: _REVOCATIONS.purge(before=1),
        lambda: HasherAtHand(PlainHasher()).hash("x"),
    ],
)
def test_what_takes_its_time_is_not_at_hand(wait: Callable[[], Any]) -> None:
    with pytest.raises(NotAtHand):
        wait()


def test_a_key_set_that_is_held_is_at_hand() -> None:
    """C10: only the fresh set with the kid."""

    class Holding(StaticJwks):
        def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
            return JwkSet(()) if (jwks_uri, kid, since) == (JWKS_URI, "k", 7) else None

    jwks = JwksAtHand(Holding())

    assert jwks.keys(JWKS_URI, kid="k", now=1, since=7) == JwkSet(())
    with pytest.raises(NotAtHand):
        jwks.keys(JWKS_URI, kid="other", now=1, since=7)


def test_what_needs_no_waiting_is_passed_on() -> None:
    kept, _, _ = revocations()
    kept.revoke("a", until=FAR)

    _JWKS.proven(JWKS_URI, source=None)

    assert _JWKS.held(JWKS_URI, kid="k") is None
    assert kept.since(0).revoked == {"a": FAR}
