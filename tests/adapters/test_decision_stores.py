"""Records of decisions in every kind of store: found by id, newest first, bounded in time and number. Row X23."""

from dataclasses import replace

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.memory_decisions import MemoryDecisionStore
from authserver.adapters.sql.decisions import SqlDecisionStore
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol.decision_record import DecisionRecord

Stores = MemoryStores | SqlStores
NOW = 1_800_000_000
FIRST = DecisionRecord(
    id="0123456789abcdef",
    at=NOW,
    until=NOW,
    client_id="acme",
    method="GET",
    path="/fhir/Patient/{id}",
    operation="FhirRead",
    resource_type="Patient",
    parameters=("_format",),
    allowed=False,
    policy=None,
    verdicts=({"id": "p", "version": 1, "engine": "allow", "eval-result": False},),
)


def numbered(count: int, *, start: int = 0) -> list[DecisionRecord]:
    """Return records, each a second later than the one before."""
    return [replace(FIRST, id=f"{number:016x}", until=NOW + number) for number in range(start, start + count)]


def test_a_record_comes_back_as_it_went_in(stores: Stores) -> None:
    stores.decisions.add([FIRST])
    stores.decisions.add([])

    assert stores.decisions.get(FIRST.id) == FIRST
    assert stores.decisions.get("none") is None


def test_the_first_of_two_with_one_id_stays(stores: Stores) -> None:
    stores.decisions.add([FIRST])

    stores.decisions.add([replace(FIRST, client_id="another")])

    assert stores.decisions.get(FIRST.id) == FIRST


def test_the_newest_are_told_first(stores: Stores) -> None:
    stores.decisions.add(numbered(10))

    assert stores.decisions.recent(3) == numbered(10)[:6:-1]


def test_purging_forgets_what_is_past_its_time_and_nothing_else(stores: Stores) -> None:
    stores.decisions.add(numbered(10))

    forgotten = stores.decisions.purge(before=NOW + 4)

    assert (forgotten, stores.decisions.recent(100)) == (4, numbered(10)[:3:-1])


@pytest.mark.parametrize("kind", ["memory", "sql"])
def test_above_the_limit_the_oldest_go(kind: str, sql_stores: SqlStores) -> None:
    """A flood of refusals does not fill the disk: at most a twentieth more than the limit is there."""
    store = MemoryDecisionStore(100) if kind == "memory" else SqlDecisionStore(sql_stores.database, max_rows=100)

    for start in range(0, 300, 10):
        store.add(numbered(10, start=start))

    there = store.recent(1_000)
    assert 95 <= len(there) <= 110
    assert list(there) == numbered(300)[: -len(there) - 1 : -1]
