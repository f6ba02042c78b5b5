"""What is noted beside the registry, over memory, SQLite and PostgreSQL: last uses, and what processes let be spent."""

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable
from authserver.services.client_key_uses import KEPT_SECONDS, ClientKeyUses
from authserver.services.key_uses import MAX_NOTED, KeyUses

Stores = MemoryStores | SqlStores
SPENT = {"client_rate": {"acme": 7}}


def test_a_last_use_is_kept_unless_a_later_one_is(stores: Stores) -> None:
    """X31."""
    stores.key_uses.mark({"a": 7_200, "b": 3_600})
    stores.key_uses.mark({"a": 3_600, "b": 7_200})
    stores.key_uses.mark({})

    assert stores.key_uses.last_used(["a", "b", "c"]) == {"a": 7_200, "b": 7_200}
    assert stores.key_uses.last_used([]) == {}


def test_a_key_is_written_once_an_hour(stores: Stores) -> None:
    """X31: however often it is used."""
    uses = KeyUses(stores.key_uses)
    for now in (7_200, 7_201, 10_799):
        uses.note("a", now=now)

    waiting, stored = uses.last_used(["a"]), stores.key_uses.last_used(["a"])
    uses.flush()

    assert (waiting, stored) == ({"a": 7_200}, {})
    assert stores.key_uses.last_used(["a"]) == {"a": 7_200}


def test_old_uses_are_forgotten(stores: Stores) -> None:
    """X49: what is kept of keys that are used no more does not grow for ever."""
    stores.client_key_uses.mark({"a/x": 3_600, "a/y": 7_200, "b/x": 10_800})

    forgotten = stores.client_key_uses.purge(before=7_200)

    assert forgotten == 1
    assert stores.client_key_uses.last_used(["a/x", "a/y", "b/x"]) == {"a/y": 7_200, "b/x": 10_800}
    assert stores.key_uses.last_used(["a/y"]) == {}


def test_uses_of_clients_keys_are_written_each_hour_and_forgotten_in_time(stores: Stores) -> None:
    """X49: no write for a token; the purge comes once a day."""
    uses, day = ClientKeyUses(stores.client_key_uses), 86_400
    for second in range(3):
        uses.note("acme", "x", now=day + second)
    noted = stores.client_key_uses.last_used(["acme/x"])
    uses.tend(now=day + 3)

    written = uses.of("acme", ["x", "y"])
    uses.tend(now=day + KEPT_SECONDS)
    kept = uses.of("acme", ["x"])
    uses.tend(now=2 * day + KEPT_SECONDS)

    assert (noted, written, kept, uses.of("acme", ["x"])) == ({}, {"x": day}, {"x": day}, {})


class _Broken(MemoryStores):
    """A database that does not answer the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def mark(self, uses: dict[str, int]) -> None:
        self.asked += 1
        if self.asked == 1:
            raise StorageUnavailable
        self.key_uses.mark(uses)

    def last_used(self, key_ids: list[str]) -> dict[str, int]:
        return dict(self.key_uses.last_used(key_ids))


def test_a_use_that_could_not_be_written_is_written_the_next_time() -> None:
    broken = _Broken()
    uses = KeyUses(broken)  # type: ignore[arg-type] # as much of the store as is asked for
    uses.note("a", now=3_600)

    with pytest.raises(StorageUnavailable):
        uses.flush()
    uses.flush()

    assert (broken.asked, broken.last_used(["a"])) == (2, {"a": 3_600})


def test_a_notice_replaces_the_former_and_is_read_by_the_others(stores: Stores) -> None:
    """X54."""
    board = stores.spendings
    board.publish("one", {1: SPENT}, now=100)
    board.publish("one", {1: SPENT, 2: SPENT}, now=101)
    board.publish("two", {9: SPENT}, now=90)

    assert board.others("two", since=0) == {"one": {1: SPENT, 2: SPENT}}
    assert board.others("three", since=95) == {"one": {1: SPENT, 2: SPENT}}
    assert board.others("one", since=0) == {"two": {9: SPENT}}


def test_old_notices_are_taken_down(stores: Stores) -> None:
    board = stores.spendings
    board.publish("one", {1: SPENT}, now=100)
    board.publish("two", {1: SPENT}, now=200)

    assert (board.purge(before=200), board.others("three", since=0)) == (1, {"two": {1: SPENT}})


def test_what_is_noted_is_bounded_and_of_the_latest_hour() -> None:
    """A process that is asked about very many keys forgets that it noted some: each costs one more write."""
    stores = MemoryStores()
    uses = KeyUses(stores.key_uses)
    for number in range(MAX_NOTED + 10):
        uses.note(f"key-{number}", now=3_600)

    uses.flush()
    uses.flush()

    kept = stores.key_uses.last_used([f"key-{number}" for number in range(MAX_NOTED + 10)])
    assert len(kept) == MAX_NOTED
