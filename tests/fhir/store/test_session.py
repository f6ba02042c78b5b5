"""One suite for every database: transactions, what a constraint lets them write, versions and histories."""

import threading
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from authserver.errors import Forbidden, NotFound
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import SearchQuery, TokenCriterion, TokenValue
from authserver.fhir.store.port import FhirReads, FhirSession, HistoryQuery, Stored, Written
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import make_observation, make_patient

NOW = 1_724_946_665_117_806
EVERYTHING = Constraint.system("")
OTHER = Constraint.system("other")
FINAL = Constraint("", ((TokenCriterion("status", (TokenValue("final", None),)),),))


def _put(
    store: SqlStore,
    resource: dict[str, Any],
    *,
    constraint: Constraint = EVERYTHING,
    method: str = "PUT",
    now: int = NOW,
) -> Written:
    return store.transact(lambda session: session.put(constraint, resource, method=method, now=now))


def _delete(store: SqlStore, *, constraint: Constraint = EVERYTHING, now: int = NOW) -> Stored | None:
    return store.transact(lambda session: session.delete(constraint, "Observation", "o1", now=now))


def _history(store: SqlStore, constraint: Constraint = EVERYTHING, **query: Any) -> list[tuple[str, int, str]]:
    page = store.history({"Observation": constraint}, HistoryQuery(("Observation",), **query))
    return [(one.stored.id, one.stored.version_id, one.method) for one in page.versions]


def test_a_written_resource_is_there_for_everybody_afterwards(store: SqlStore) -> None:
    """Row X32: read after write."""
    written = _put(store, make_observation(), method="POST")

    assert (written.created, written.changed, written.stored.version_id) == (True, True, 1)
    assert store.read(EVERYTHING, "Observation", "o1") == written.stored
    assert store.search(EVERYTHING, SearchQuery("Observation", (), 5)).matches == (written.stored,)


def test_an_error_leaves_nothing_of_the_transaction(store: SqlStore) -> None:
    def work(session: FhirSession) -> None:
        session.put(EVERYTHING, make_observation(), method="PUT", now=NOW)
        assert session.reads.read(EVERYTHING, "Observation", "o1") is not None
        raise NotFound

    with pytest.raises(NotFound):
        store.transact(work)

    assert store.read(EVERYTHING, "Observation", "o1") is None
    assert _history(store) == []


def test_what_a_constraint_hides_cannot_be_written(store: SqlStore) -> None:
    """Threat H06: a hidden resource is as absent, and keeps its version."""
    _put(store, make_observation(status="amended"))

    with pytest.raises(NotFound):
        _put(store, make_observation(status="final"), constraint=FINAL)
    with pytest.raises(NotFound):
        _put(store, make_observation("free"), constraint=FINAL)

    stored = store.read(EVERYTHING, "Observation", "o1")
    assert stored is not None
    assert stored.version_id == 1


def test_what_a_constraint_would_hide_is_not_written(store: SqlStore) -> None:
    _put(store, make_observation(status="final"))

    with pytest.raises(Forbidden) as refused:
        _put(store, make_observation(status="amended"), constraint=FINAL)
    with pytest.raises(Forbidden):
        _put(store, make_observation("new", status="amended"), constraint=FINAL, method="POST")

    assert refused.value.reason == "outside_scope"
    assert _history(store) == [("o1", 1, "PUT")]


def test_what_a_constraint_reaches_is_written(store: SqlStore) -> None:
    """The positive control."""
    _put(store, make_observation(status="final"))

    changed = _put(store, make_observation(status="final", issued="2024-05-11T12:00:00Z"), constraint=FINAL)
    created = _put(store, make_observation("new", status="final"), constraint=FINAL, method="POST")

    assert (changed.stored.version_id, changed.created) == (2, False)
    assert (created.stored.version_id, created.created) == (1, True)


def test_another_tenants_id_is_free(store: SqlStore) -> None:
    """Threat H06: no oracle, no overwriting."""
    _put(store, make_observation(), constraint=OTHER)

    mine = _put(store, make_observation(status="amended"))

    assert (mine.created, mine.stored.version_id) == (True, 1)
    theirs = store.read(OTHER, "Observation", "o1")
    assert theirs is not None
    assert b'"final"' in theirs.body


def test_a_deleted_resource_is_gone_from_reads_and_searches_and_comes_back_by_a_write(store: SqlStore) -> None:
    _put(store, make_observation())

    deleted = _delete(store, now=NOW + 1)
    gone = store.version(EVERYTHING, "Observation", "o1", None)

    assert deleted is not None
    assert (deleted.version_id, deleted.last_updated) == (2, NOW + 1)
    assert store.read(EVERYTHING, "Observation", "o1") is None
    assert store.search(EVERYTHING, SearchQuery("Observation", (), 5)).matches == ()
    assert gone is not None
    assert (gone.deleted, gone.method, gone.stored.version_id) == (True, "DELETE", 2)
    back = _put(store, make_observation(), now=NOW + 2)
    assert (back.created, back.stored.version_id) == (True, 3)
    assert store.search(EVERYTHING, SearchQuery("Observation", (), 5)).matches == (back.stored,)


def test_deleting_what_is_not_there_or_hidden_does_nothing(store: SqlStore) -> None:
    assert _delete(store) is None
    _put(store, make_observation(status="amended"))

    assert _delete(store, constraint=FINAL) is None
    assert _delete(store, constraint=OTHER) is None

    assert store.read(EVERYTHING, "Observation", "o1") is not None


def test_each_version_is_seen_by_its_own_content(store: SqlStore) -> None:
    """Threat H01, leaks L8 and L19: final, amended, final again, deleted."""
    for number, status in enumerate(("final", "amended", "final")):
        _put(store, make_observation(status=status), now=NOW + number)
    _delete(store, now=NOW + 3)

    seen = [
        version_id
        for version_id in (1, 2, 3, 4, 5)
        if store.version(FINAL, "Observation", "o1", version_id) is not None
    ]

    assert seen == [1, 3, 4]
    assert _history(store, FINAL) == [("o1", 4, "DELETE"), ("o1", 3, "PUT"), ("o1", 1, "PUT")]
    assert _history(store, OTHER) == []
    assert store.history({"Observation": FINAL}, HistoryQuery(("Observation",), "o1")).total == 3


def test_the_deletion_of_what_was_hidden_is_hidden(store: SqlStore) -> None:
    _put(store, make_observation(status="final"))
    _put(store, make_observation(status="amended"), now=NOW + 1)
    _delete(store, now=NOW + 2)

    assert store.version(FINAL, "Observation", "o1", None) is None
    assert _history(store, FINAL) == [("o1", 1, "PUT")]


def test_pages_of_a_history_hold_every_version_once_newest_first(store: SqlStore) -> None:
    for number in range(7):
        _put(store, make_observation(f"o{number % 3}", issued=f"2024-05-1{number}T12:00:00Z"), now=NOW + number // 2)
    whole = _history(store, count=50)

    paged: list[tuple[str, int, str]] = []
    after: int | None = None
    while True:
        page = store.history({"Observation": EVERYTHING}, HistoryQuery(("Observation",), count=2, after=after))
        paged.extend((one.stored.id, one.stored.version_id, one.method) for one in page.versions)
        after = page.next_after
        if after is None:
            break

    assert paged == whole
    assert len(whole) == len(set(whole)) == 7
    assert [version_id for name, version_id, _ in whole if name == "o0"] == [3, 2, 1]


def test_a_history_may_be_limited_in_time(store: SqlStore) -> None:
    for number in range(4):
        _put(store, make_observation(issued=f"2024-05-1{number}T12:00:00Z"), now=NOW + number)

    assert _history(store, since=NOW + 1, until=NOW + 3) == [("o1", 3, "PUT"), ("o1", 2, "PUT")]


def test_the_reached_are_those_that_a_read_would_find(store: SqlStore) -> None:
    _put(store, make_observation("a"))
    _put(store, make_observation("b", status="amended"))
    _put(store, make_observation("foreign"), constraint=OTHER)

    reached = store.transact(lambda session: session.reached(FINAL, "Observation", ["a", "b", "foreign", "nobody"]))

    assert reached == frozenset({"a"})


def test_two_writers_who_look_first_take_turns(store: SqlStore) -> None:
    """Exactly one of two that both create only when nothing is there."""
    created: list[bool] = []

    def work(session: FhirSession) -> bool:
        if session.search(EVERYTHING, SearchQuery("Patient", (), 2)).matches:
            return False
        session.put(EVERYTHING, make_patient(f"p{threading.get_ident()}"), method="POST", now=NOW)
        return True

    threads = [threading.Thread(target=lambda: created.append(store.transact(work))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created) == [False, False, False, True]


def test_no_method_of_the_store_works_without_a_constraint() -> None:
    """The architecture's rule: the only other ones give a session, a stream or the store itself, or count rows.

    Searches of several types have a constraint each.
    """
    constrained = {"constraint", "constraints", "searches"}
    without = {
        f"{kind.__name__}.{name}"
        for kind in (FhirReads, FhirSession, SqlStore)
        for name, member in vars(kind).items()
        if callable(member) and not name.startswith("_")
        if not constrained & set(member.__code__.co_varnames[: member.__code__.co_argcount])
    }

    assert without == {"SqlStore.transact", "SqlStore.snapshot", "SqlStore.analyze", "SqlStore.close"}


def test_a_database_of_before_gets_its_methods(tmp_path: Any, definitions: Definitions) -> None:
    url = f"sqlite:///{tmp_path}/fhir.db"
    old = open_store(url, definitions)
    old.put(EVERYTHING, [make_observation()], now=NOW)
    old.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX fhir_version_by_time"))
        connection.execute(text("ALTER TABLE fhir_version DROP COLUMN method"))
        connection.execute(text("UPDATE fhir_meta SET value = '2' WHERE name = 'schema_revision'"))
    engine.dispose()

    upgraded = open_store(url, definitions)

    assert _history(upgraded) == [("o1", 1, "PUT")]
    upgraded.close()
