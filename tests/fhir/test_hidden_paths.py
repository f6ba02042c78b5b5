"""Hidden and absent take the same path: the same statements in the same order, whatever the interaction.

How long they take is measured by `python -m bench.hidden`; here nothing is timed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.hidden import CALLS, SEEN, SIDES, ask, client_of, fill, name


@pytest.fixture
def client(store: SqlStore, definitions: Definitions) -> FlaskClient:
    """A client of an app over a store with one resource of each side, and of those that are seen."""
    fill(store)
    return client_of(store, definitions)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """The text of every statement that this thread runs meanwhile."""
    statements: list[str] = []
    mine = threading.get_ident()

    def keep(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() == mine:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


def _asked(client: FlaskClient, interaction: str, side: str) -> tuple[int, list[str]]:
    with recorded() as statements:
        answer = ask(client, CALLS[interaction], name(side))
    return answer.status_code, statements


def test_hidden_and_absent_run_the_same_statements(client: FlaskClient) -> None:
    """Threat H01, leak L9: as many statements, of the same text, in the same order; and the same status."""
    found = {interaction: [_asked(client, interaction, side) for side in SIDES] for interaction in CALLS}

    differing = [interaction for interaction, (absent, *hidden) in found.items() if hidden != [absent, absent]]
    assert differing == []
    assert [interaction for interaction, ((_, statements), *_) in found.items() if not statements] == []


def test_what_is_seen_is_answered(client: FlaskClient) -> None:
    """The positive control: the same requests find what is in scope."""
    asked = ("read", "vread", "history", "patch", "$validate", "$everything", "$document")

    found = [[ask(client, CALLS[one], name(side)).status_code for one in asked] for side in (SEEN, "absent")]

    assert found == [[200] * len(asked), [404] * len(asked)]


def test_what_was_deleted_and_hidden_runs_the_same_statements(client: FlaskClient, store: SqlStore) -> None:
    """Decision table, read: a deleted one whose last version did not match is absent."""
    mine = Constraint.system("mine")
    store.transact(lambda session: session.delete(mine, "Observation", name("criteria"), now=1_700_000_000_000_001))

    found = [[_asked(client, one, side) for one in ("read", "vread", "history")] for side in ("absent", "criteria")]

    assert [status for status, _ in found[0]] == [404] * 3
    assert found[1] == found[0]
