"""The chain of audit records: one suite over memory, SQLite and PostgreSQL. Rows X25 and X55."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable, VersionConflict
from authserver.protocol.audit_chain import Anchors, Head, Verified, verify
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.protocol.audit_search import AuditQuery
from authserver.services.claim_queue import ClaimOutcome
from authserver.services.ports import StoredResource
from tests.builders import NOW
from tests.postgres import PostgresCluster

Stores = MemoryStores | SqlStores
SECOND = 10**6


def record(agent: str = "acme", *, at: int = NOW, **changes: Any) -> AuditRecord:
    """Return a record of a token, `at` in seconds."""
    facts = {"jti": f"1.{agent}", "scope": "system/Patient.rs"}
    return AuditRecord(**{"event": "token_issued", "at": at * SECOND, "agent": agent, "facts": facts, **changes})


def changed(before: StoredResource | None, after: StoredResource) -> AuditRecord:
    """Return the record of a change."""
    facts = {"before": before.version_id if before else None, "after": after.version_id}
    return record("root", event="resource_updated", entity=f"Client/{after.id}", facts=facts)


def agents(stores: Stores, **query: Any) -> list[str | None]:
    """Return whose records are found, newest first."""
    return [found.said["agent"] for found in stores.audit.search(AuditQuery(**query))]


def verified(stores: Stores) -> Verified:
    """Check the whole chain."""
    head = stores.audit.head() or Head()
    return verify(head, stores.audit.links(after=0, up_to=head.sequence), Anchors(), now=NOW)


def test_records_come_back_newest_first_as_they_were_written(stores: Stores) -> None:
    stores.audit.append([record("a", tenant="t", source="192.0.2.1", request_id="r1"), record("b", outcome=4)])
    stores.audit.append([record("c", entity="Client/c")])

    found = stores.audit.search(AuditQuery())

    said = {
        "event": "token_issued",
        "at": NOW * SECOND,
        "outcome": 0,
        "agent": "a",
        "entity": None,
        "tenant": "t",
        "request_id": "r1",
        "source": "192.0.2.1",
        "facts": {"jti": "1.a", "scope": "system/Patient.rs"},
    }
    assert [(one.sequence, one.said["agent"]) for one in found] == [(3, "c"), (2, "b"), (1, "a")]
    assert dict(found[2].said) == said


def test_every_record_is_bound_to_the_one_before(stores: Stores) -> None:
    assert stores.audit.head() in (None, Head())
    for name in ("a", "b", "c"):
        stores.audit.append([record(name)])

    head = stores.audit.head()
    links = list(stores.audit.links(after=0, up_to=9))

    assert head is not None
    assert (head.sequence, head.hash) == (3, links[2].hash)
    assert [link.previous for link in links] == [bytes(32), links[0].hash, links[1].hash]
    assert verified(stores) == Verified(1, 3, 0)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"agent": "a"}, ["a"]),
        ({"entity": "Client/b"}, ["b"]),
        ({"tenant": "t"}, ["c"]),
        ({"sequence": 2}, ["b"]),
        ({"sequence": 2, "tenant": "t"}, []),
        ({"events": frozenset({"key_retired"})}, ["b"]),
        ({"events": frozenset()}, []),
        ({"outcomes": frozenset({8, 12})}, ["c"]),
        ({"since": (NOW + 1) * SECOND}, ["c", "b"]),
        ({"before": (NOW + 1) * SECOND}, ["a"]),
        ({"without": (((NOW + 1) * SECOND, (NOW + 2) * SECOND),)}, ["c", "a"]),
        ({"after": 3}, ["b", "a"]),
        ({"beyond": 1}, ["c", "b"]),
        ({"jti": "1.c"}, ["c"]),
        ({"jti": "1.c", "agent": "a"}, []),
        ({"count": 2}, ["c", "b"]),
    ],
)
def test_records_are_found_by_what_they_say(stores: Stores, query: dict[str, Any], found: list[str]) -> None:
    second = record("b", at=NOW + 1, entity="Client/b", event="key_retired")
    stores.audit.append([record("a"), second, record("c", at=NOW + 2, tenant="t", outcome=8)])

    assert agents(stores, **query) == found


@pytest.mark.parametrize(("seconds", "number"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 3), (9, 3)])
def test_the_last_record_of_before_a_moment_is_found(stores: Stores, seconds: int, number: int) -> None:
    """Row X5: where a search for what is recent may end; written a little out of order, as by several hosts."""
    stores.audit.append([record(at=NOW), record(at=NOW + 1), record(at=NOW + 3), record(at=NOW + 2)])

    assert stores.audit.last_before((NOW + seconds) * SECOND) == number


def test_a_token_is_found_by_index_among_many(sql_stores: SqlStores) -> None:
    """Row X5: the live tokens of a client, and one by its jti, are looked for among what the client had lately."""
    live = "SELECT sequence FROM audit_event WHERE agent = 'a' AND sequence > 7 ORDER BY sequence DESC LIMIT 9"

    assert "ix_audit_event_agent" in plan(sql_stores, live)


def plan(stores: SqlStores, statement: str) -> str:
    """Return how the database would answer; PostgreSQL as if the table was large."""
    sqlite = stores.database.dialect.name == "sqlite"
    with stores.database.writing() as connection:
        if not sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        rows = connection.execute(text(f"{'EXPLAIN QUERY PLAN' if sqlite else 'EXPLAIN'} {statement}"))
        return " ".join(str(row) for row in rows)


def test_a_claim_and_its_record_are_there_together(stores: Stores) -> None:
    """The record of a token is in the transaction of its jti; a replay leaves a record of its own."""
    choice = AuditChoice(record())

    claims = [stores.replay_guard.claim("acme", "j1", until=NOW, audit=choice) for _ in range(2)]

    newest = [(one.said["event"], one.said["facts"].get("reason")) for one in stores.audit.search(AuditQuery())]
    assert claims == [True, False]
    assert newest == [("token_refused", "jti_replayed"), ("token_issued", None)]
    assert verified(stores).last == 2


def test_a_claim_without_a_record_records_nothing(stores: Stores) -> None:
    assert stores.replay_guard.claim("acme", "j1", until=NOW)

    assert stores.audit.search(AuditQuery()) == []


@pytest.mark.parametrize(("number", "recorded"), [(0, False), (1, True), (2, True)])
def test_what_rests_on_a_former_state_is_not_recorded_with_the_claim(
    stores: Stores, number: int, recorded: bool
) -> None:
    """It is decided anew then, and a record of the first decision could be a lie."""
    stores.resources.put("Client", "acme", {}, now=1)
    outcomes: list[ClaimOutcome] = []
    came = threading.Event()

    def done(outcome: ClaimOutcome) -> None:
        outcomes.append(outcome)
        came.set()

    stores.claims.submit("acme", "j1", until=NOW, done=done, audit=AuditChoice(record(), number))
    assert came.wait(10)

    assert outcomes == [ClaimOutcome(claimed=True, change=1, recorded=recorded)]
    assert len(stores.audit.search(AuditQuery())) == (1 if recorded else 0)


def test_a_change_of_a_resource_is_recorded_with_it(stores: Stores) -> None:
    """Versions before and after, none for what was not changed."""
    stores.resources.put("Client", "acme", {}, now=1, audit=changed)
    stores.resources.put("Client", "acme", {"a": 1}, now=2, audit=changed)
    with pytest.raises(VersionConflict):
        stores.resources.put("Client", "acme", {}, now=3, if_match=1, audit=changed)
    stores.resources.delete("Client", "acme", now=4, audit=changed)
    stores.resources.delete("Client", "acme", now=5, audit=changed)
    stores.resources.put("Client", "acme", {}, now=6, audit=changed)

    found = [(one.said["facts"]["before"], one.said["facts"]["after"]) for one in stores.audit.search(AuditQuery())]
    assert found[::-1] == [(None, 1), (1, 2), (2, 2), (None, 4)]


def test_revocations_are_recorded_with_the_revocation(stores: Stores) -> None:
    stores.resources.put("Client", "acme", {}, now=1)

    stores.revocations.revoke("jti", until=NOW, audit=record(event="token_revoked"))
    stores.resources.revoke_tokens("Client", "acme", audit=record(event="client_tokens_revoked"))
    stores.resources.revoke_tokens("Client", "nobody", audit=record(event="client_tokens_revoked"))

    events = [one.said["event"] for one in stores.audit.search(AuditQuery())]
    assert events == ["client_tokens_revoked", "token_revoked"]
    assert verified(stores).last == 2


def test_a_change_whose_record_cannot_be_made_is_not_made(stores: Stores) -> None:
    def broken(_before: StoredResource | None, _after: StoredResource) -> AuditRecord:
        raise StorageUnavailable(detail="no record")

    with pytest.raises(StorageUnavailable):
        stores.resources.put("Client", "acme", {}, now=1, audit=broken)

    assert stores.resources.get("Client", "acme") is None
    assert stores.resources.put("Client", "acme", {}, now=1, audit=changed).version_id == 1


def test_checkpoints_are_kept_newest_first(stores: Stores) -> None:
    for number in (1, 2, 3):
        stores.audit.keep_checkpoint(number, f"signed-{number}")

    assert list(stores.audit.checkpoints()) == ["signed-3", "signed-2", "signed-1"]


def test_pruning_takes_the_beginning_and_says_where_the_chain_begins(stores: Stores) -> None:
    stores.audit.append([record(name, at=NOW + place) for place, name in enumerate("abcd")])
    old = stores.audit.older_than((NOW + 2) * SECOND)

    pruned = stores.audit.prune(up_to=old.sequence)

    head = stores.audit.head()
    assert head is not None
    assert (pruned, agents(stores)) == (2, ["d", "c"])
    assert (head.pruned_sequence, head.pruned_hash, head.sequence) == (2, old.hash, 4)
    assert [link.previous for link in stores.audit.links(after=0, up_to=3)] == [old.hash]


def test_a_record_between_older_ones_keeps_what_comes_after_it(stores: Stores) -> None:
    """After a clock set back: the chain is pruned from its beginning alone."""
    stores.audit.append([record("a"), record("b", at=NOW + 9), record("c", at=NOW + 1)])

    assert stores.audit.older_than((NOW + 5) * SECOND).sequence == 1
    assert stores.audit.older_than(NOW * SECOND) == Head()
    assert stores.audit.older_than((NOW + 60) * SECOND).sequence == 3


def test_everything_can_be_pruned_and_the_chain_goes_on(stores: Stores) -> None:
    stores.audit.append([record("a"), record("b")])

    stores.audit.prune(up_to=2)
    stores.audit.append([record("c")])

    assert [link.sequence for link in stores.audit.links(after=0, up_to=9)] == [3]
    assert stores.audit.prune(up_to=2) == 0


def test_many_records_are_pruned_in_batches(sqlite_stores: SqlStores) -> None:
    sqlite_stores.audit.append([record() for _ in range(1_203)])

    assert sqlite_stores.audit.prune(up_to=1_200) == 1_200
    assert len(list(sqlite_stores.audit.links(after=0, up_to=2_000))) == 3


def test_a_chain_longer_than_a_page_is_read_whole(sqlite_stores: SqlStores) -> None:
    sqlite_stores.audit.append([record() for _ in range(2_001)])

    assert verified(sqlite_stores) == Verified(1, 2_001, 0)


def test_what_cannot_be_recorded_is_found_out_before_a_change_elsewhere(sql_stores: SqlStores) -> None:
    """For changes of files: the block's end is the commit, and an exception in it leaves no record."""
    with sql_stores.audit.appending() as append:
        append(record("kept"))

    def fail() -> None:
        with sql_stores.audit.appending() as append:
            append(record("lost"))
            raise OSError("the file")

    with pytest.raises(OSError, match="the file"):
        fail()

    assert agents(sql_stores) == ["kept"]


def test_threads_and_processes_write_one_chain(postgres: PostgresCluster) -> None:
    """Row X55 on PostgreSQL: claims, changes and records of several servers at once, without a gap or a fork."""
    url = postgres.create_database()
    engines = [open_engine(url) for _ in range(3)]
    upgrade(engines[0])
    servers = [SqlStores(engine, at_hand_seconds=0) for engine in engines]

    def work(number: int, stores: SqlStores) -> None:
        for place in range(15):
            choice = AuditChoice(record(f"s{number}"))
            assert stores.replay_guard.claim("acme", f"{number}-{place}", until=NOW, audit=choice)
            stores.audit.append([record(f"s{number}", outcome=4)])
            stores.resources.put("Client", f"c{number}", {}, now=1, audit=changed)

    run_together([(work, number, stores) for number, stores in enumerate(servers)])

    seen = verified(servers[0])
    counts = [len(agents(servers[0], agent=f"s{number}", count=500)) for number in range(3)]
    for stores in servers:
        stores.close()
    assert (seen, counts) == (Verified(1, 135, 0), [30, 30, 30])


def run_together(calls: Sequence[tuple[Any, ...]]) -> None:
    """Run each call in a thread of its own; raises what one of them raised."""
    failures: list[BaseException] = []

    def run(call: tuple[Any, ...]) -> None:
        try:
            call[0](*call[1:])
        except BaseException as error:  # noqa: BLE001 -- handed over to the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_a_lost_head_lets_nothing_be_written(sql_stores: SqlStores) -> None:
    """Whoever takes the head away, or sets it back, gets refusals instead of a second chain (closed, not open)."""
    sql_stores.audit.append([record("a"), record("b")])
    with sql_stores.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM audit_head")

    with pytest.raises(StorageUnavailable):
        sql_stores.audit.append([record("c")])

    assert agents(sql_stores) == ["b", "a"]


def test_text_that_no_database_takes_is_recorded_all_the_same(stores: Stores) -> None:
    """Threat G12: NUL, line breaks and separators are escaped within the record's JSON."""
    stores.audit.append([record(facts={"reason": "a\u0000b\r\n\u2028"})])

    (found,) = stores.audit.search(AuditQuery())
    assert found.said["facts"] == {"reason": "a\u0000b\r\n\u2028"}
