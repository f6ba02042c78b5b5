"""Receipts in every kind of store: found by id, bounded in time and number. Row X48."""

from dataclasses import replace

import pytest

from authserver.adapters.memory import MemoryReceiptStore, MemoryStores
from authserver.adapters.sql.receipts import SqlReceiptStore
from authserver.adapters.sql.stores import SqlStores
from authserver.services.ports import Receipt, ReceiptStore

Stores = MemoryStores | SqlStores
NOW = 1_800_000_000
FIRST = Receipt(
    id="0123456789abcdef",
    at=NOW,
    until=NOW + 60,
    path="/auth/token",
    status=400,
    error="invalid_client",
    reason="aud_mismatch",
    detail="aud is not “ours” \ud800",
    client_id=None,
)


def numbered(count: int, *, start: int = 0) -> list[Receipt]:
    """Return receipts, each a second later than the one before."""
    return [replace(FIRST, id=f"{number:016x}", until=NOW + number) for number in range(start, start + count)]


def kept(store: ReceiptStore, receipts: list[Receipt]) -> list[str]:
    """Return the ids that are there."""
    return [receipt.id for receipt in receipts if store.get(receipt.id) is not None]


def test_a_receipt_comes_back_as_it_went_in(stores: Stores) -> None:
    stores.receipts.add([FIRST, replace(FIRST, id="other", client_id="acme")])

    assert stores.receipts.get(FIRST.id) == FIRST
    assert stores.receipts.get("other") == replace(FIRST, id="other", client_id="acme")
    assert stores.receipts.get("none") is None


def test_no_receipts_are_no_write(stores: Stores) -> None:
    stores.receipts.add([])

    assert stores.receipts.purge(before=2**62) == 0


def test_the_first_of_two_with_one_id_stays(stores: Stores) -> None:
    stores.receipts.add([FIRST])

    stores.receipts.add([replace(FIRST, reason="another")])

    assert stores.receipts.get(FIRST.id) == FIRST


def test_purging_forgets_what_is_past_its_time_and_nothing_else(stores: Stores) -> None:
    stores.receipts.add(numbered(10))

    forgotten = stores.receipts.purge(before=NOW + 4)

    assert forgotten == 4
    assert kept(stores.receipts, numbered(10)) == [receipt.id for receipt in numbered(6, start=4)]


def test_above_the_limit_the_oldest_go(sql_stores: SqlStores) -> None:
    """A flood of refusals does not fill the disk: at most a twentieth more than the limit is there."""
    store = SqlReceiptStore(sql_stores.database, max_rows=100)

    for start in range(0, 300, 10):
        store.add(numbered(10, start=start))

    there = kept(store, numbered(300))
    assert 95 <= len(there) <= 110
    assert there[-1] == numbered(1, start=299)[0].id
    assert there == [receipt.id for receipt in numbered(len(there), start=300 - len(there))]


def test_memory_keeps_no_more_than_its_limit() -> None:
    store = MemoryReceiptStore(max_rows=3)

    store.add(numbered(5))

    assert kept(store, numbered(5)) == [receipt.id for receipt in numbered(3, start=2)]


@pytest.mark.parametrize("jti", ["one", "\ud800", ""])
def test_asking_for_a_jti_claims_nothing(stores: Stores, jti: str) -> None:
    """Row X47: a diagnosis consumes no jti."""
    before = [stores.replay_guard.was_claimed("acme", jti) for _ in range(2)]

    claimed = stores.replay_guard.claim("acme", jti, until=NOW)

    after = (stores.replay_guard.was_claimed("acme", jti), stores.replay_guard.was_claimed("other", jti))
    assert (before, claimed, after) == ([False, False], True, (True, False))
