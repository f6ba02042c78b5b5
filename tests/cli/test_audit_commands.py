"""`authserver audit`: exit code 0 for what was written, 1 with the first bad record for anything else. Row X55."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from freezegun import freeze_time

from authserver.adapters.key_files import open_signer
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery
from tests.cli.conftest import Invoke

pytestmark = pytest.mark.usefixtures("clean_environment", "private_umask")
DATABASE = Path("instance/authserver.sqlite3")
START, AFTER = 1_800_000_000, "2027-01-15 08:10:00"


@contextmanager
def stores() -> Iterator[SqlStores]:
    """Open the registry's database in the current folder."""
    DATABASE.parent.mkdir(mode=0o700, exist_ok=True)
    engine = open_engine(f"sqlite:///{DATABASE.absolute()}")
    upgrade(engine)
    opened = SqlStores(engine)
    try:
        yield opened
    finally:
        opened.close()


def sql(statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do something to the database that no server would do."""
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        return connection.execute(statement, values).fetchall()


@pytest.fixture
def audited() -> None:
    """Ten records, a second apart, and keys."""
    open_signer(Path("keys"))
    with stores() as opened:
        opened.audit.append([AuditRecord("token_issued", (START + n) * 10**6, agent=f"client-{n}") for n in range(10)])


def test_an_untouched_audit_is_good(invoke: Invoke, audited: None) -> None:
    with freeze_time(AFTER):
        before = invoke("audit", "verify")
        signed = invoke("audit", "checkpoint").stdout.strip()
        after = invoke("audit", "verify", "--json", "--anchor", signed)

    newer = "the last 10 are newer than the newest signed checkpoint"
    assert (before.exit_code, before.stdout) == (0, f"Records 1 to 10 are as they were written; {newer}.\n")
    assert (after.exit_code, json.loads(after.stdout)) == (0, {"good": True, "first": 1, "last": 10, "covered": 10})


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (
            "UPDATE audit_event SET body = EDITED WHERE sequence = 5",
            "record 5 was changed",
        ),
        ("UPDATE audit_event SET agent = 'client-7' WHERE sequence = 5", "record 5 is filed under other values"),
        ("DELETE FROM audit_event WHERE sequence = 5", "record 5 is missing; record 6 follows"),
        ("DELETE FROM audit_event WHERE sequence > 7", "record 8 is missing: the chain went on to record 10"),
        ("DELETE FROM audit_event WHERE sequence = 1", "record 1 is missing; record 2 follows"),
        ("DELETE FROM audit_event", "record 1 is missing: the chain went on to record 10"),
        ("UPDATE audit_head SET sequence = 9", "record 10 is not the head of the chain, which is said to be record 9"),
        ("DELETE FROM audit_head", "record 10 is not the head of the chain, which is said to be record 0"),
        ("UPDATE audit_head SET pruned_sequence = 3", "record 1 was removed, and no signed checkpoint says"),
        ("UPDATE audit_checkpoint SET signed = 'a.b.c'", "a newest checkpoint that no published key signed"),
    ],
)
def test_whatever_is_done_to_the_records_is_found(invoke: Invoke, audited: None, harm: str, problem: str) -> None:
    """Edited, removed, cut off at either end: exit code 1 with the first bad record."""
    with freeze_time(AFTER):
        invoke("audit", "checkpoint")
        sql(harm.replace("EDITED", "CAST(replace(body, 'client-4', 'client-7') AS BLOB)"))

        result = invoke("audit", "verify")

    assert (result.exit_code, result.stdout) == (1, "")
    assert problem in result.stderr


def test_records_that_changed_places_are_found(invoke: Invoke, audited: None) -> None:
    with freeze_time(AFTER):
        invoke("audit", "checkpoint")
        for one, other in ((3, -1), (4, 3), (-1, 4)):
            sql("UPDATE audit_event SET sequence = ? WHERE sequence = ?", other, one)

        result = invoke("audit", "verify", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["record"] == 3


def test_a_record_behind_the_head_is_found(invoke: Invoke, audited: None) -> None:
    """Before any checkpoint: the head is set back, the last record stays."""
    sql("UPDATE audit_head SET sequence = 9, hash = (SELECT hash FROM audit_event WHERE sequence = 9)")

    with freeze_time(AFTER):
        result = invoke("audit", "verify")

    said = "error: The audit is not what was written: record 10 stands behind the head of the chain.\n"
    assert (result.exit_code, result.stderr) == (1, said)


def test_a_rolled_back_audit_is_found_by_an_exported_anchor(invoke: Invoke, audited: None) -> None:
    """The database of yesterday is good by itself; the anchor in the log knows of today."""
    with freeze_time(AFTER):
        invoke("audit", "checkpoint")
        rows = sql("SELECT hash FROM audit_event WHERE sequence = 8")
        sql("DELETE FROM audit_event WHERE sequence > 8")
        sql("UPDATE audit_head SET sequence = 8, hash = (SELECT hash FROM audit_event WHERE sequence = 8)")
        by_checkpoint = invoke("audit", "verify")
        sql("DELETE FROM audit_checkpoint")
        alone = invoke("audit", "verify")
        by_anchor = invoke("audit", "verify", "--anchor", f"10:{'00' * 32}")

    assert len(rows) == 1
    assert [result.exit_code for result in (by_checkpoint, alone, by_anchor)] == [1, 0, 1]
    assert "record 9 is missing: the chain went on to record 10" in by_anchor.stderr


def test_a_malformed_anchor_is_wrong_usage(invoke: Invoke) -> None:
    assert invoke("audit", "verify", "--anchor", "ten").exit_code == 2


def test_an_empty_audit_is_good_and_has_nothing_to_sign(invoke: Invoke) -> None:
    open_signer(Path("keys"))

    assert invoke("audit", "checkpoint").stdout == "There is nothing to sign.\n"
    assert invoke("audit", "verify").stdout == "The audit is empty.\n"


def test_pruning_leaves_a_chain_that_is_good(invoke: Invoke, audited: None) -> None:
    """AUTHSERVER_AUDIT_RETENTION_DAYS: the records before are gone, a signed checkpoint says up to where."""
    with stores() as opened:
        opened.audit.append([AuditRecord("token_issued", (START + 86_400) * 10**6)])

    with freeze_time("2027-01-16 12:00:00"):
        said = invoke("db", "purge", "--json", AUTHSERVER_AUDIT_RETENTION_DAYS="1").stdout
        result = invoke("audit", "verify", "--json")

    assert json.loads(said)["audit_records"] == 10
    assert json.loads(result.stdout) == {"good": True, "first": 11, "last": 11, "covered": 11}


def test_key_changes_are_recorded(invoke: Invoke) -> None:
    """Announced and retired, by whom, with the kid; the key itself is nowhere in it."""
    with freeze_time("2027-01-15 08:00:00"):
        open_signer(Path("keys"))
        first = json.loads(invoke("keys", "list", "--json").stdout)[0]["kid"]
    with freeze_time("2027-01-15 09:00:00"):
        second = json.loads(invoke("keys", "rotate", "--json").stdout)["kid"]
    with freeze_time("2027-01-15 10:00:00"):
        retired = invoke("keys", "retire", first)
        verified = invoke("audit", "verify")

    with stores() as opened:
        said = [one.said for one in opened.audit.search(AuditQuery())]
    found = [(one["event"], one["entity"], one["facts"]) for one in said]
    facts = {"by": "command line", "algorithm": "ES256"}
    assert (retired.exit_code, verified.exit_code) == (0, 0)
    assert found == [
        ("key_retired", f"SigningKey/{first}", facts),
        ("key_announced", f"SigningKey/{second}", facts),
    ]


def test_a_key_is_not_changed_when_that_cannot_be_recorded(invoke: Invoke) -> None:
    """Recorded first, and taken back when the change fails."""
    with freeze_time("2027-01-15 08:00:00"):
        first = open_signer(Path("keys")).list_keys()[0].kid
        refused = invoke("keys", "retire", first)
        Path("instance").mkdir(mode=0o700, exist_ok=True)
        DATABASE.write_bytes(b"no database" * 100)
        broken = invoke("keys", "rotate", "--again")
        left = json.loads(invoke("keys", "list", "--json").stdout)
        without = invoke("keys", "rotate", "--again", AUTHSERVER_AUDIT="false")

    assert (refused.exit_code, broken.exit_code, without.exit_code) == (1, 1, 0)
    assert [key["kid"] for key in left] == [first]
