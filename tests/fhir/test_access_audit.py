"""Every read, search and refusal leaves one AuditEvent before it is answered, or is not answered."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.errors import StorageUnavailable
from authserver.fhir.access_audit import GroupedEvents
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.store.sql_store import SqlStore
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator
from tests.fhir.builders import FakeIntrospection, make_app, make_observation, make_patient, send, writing_tokens

MINE = Constraint.system("mine")


@pytest.fixture
def audited(store: SqlStore, definitions: Definitions) -> FlaskClient:
    """A client of an app that records, over a store with a Patient and an Observation of `mine`."""
    store.put(MINE, [make_patient(), make_observation()], now=1)
    app = make_app(store, definitions, introspection=FakeIntrospection(writing_tokens()), fhir_audit_reads=True)
    return app.test_client()


def _events(store: SqlStore, tenant: str = "mine") -> list[dict[str, Any]]:
    page = store.search(Constraint.system(tenant), SearchQuery("AuditEvent", (), 100))
    return [json.loads(one.body) for one in page.matches]


def _told(event: Mapping[str, Any]) -> tuple[Any, ...]:
    entity = event["entity"][0]
    what = base64.b64decode(entity["query"]).decode() if "query" in entity else entity["what"]["reference"]
    return event["subtype"][0]["code"], event["action"], event["outcome"], event.get("outcomeDesc"), what


@pytest.mark.parametrize(
    ("method", "path", "token", "told"),
    [
        ("GET", "Patient/p1", "all", ("read", "R", "0", None, "Patient/p1")),
        ("GET", "Patient/p1/_history/1", "all", ("vread", "R", "0", None, "Patient/p1/_history/1")),
        ("GET", "Patient/nobody", "all", ("read", "R", "4", "not_found", "Patient/nobody")),
        ("GET", "Patient?name=a%20b", "all", ("search-type", "E", "0", None, "GET /fhir/Patient?name=a%20b")),
        ("GET", "", "all", ("search-system", "E", "0", None, "GET /fhir")),
        ("GET", "Patient/_history", "all", ("history-type", "E", "0", None, "GET /fhir/Patient/_history")),
        ("GET", "Patient/p1/$everything", "all", ("operation", "E", "0", None, "Patient/p1")),
        ("GET", "Patient", "create", ("search-type", "E", "4", "insufficient_scope", "GET /fhir/Patient")),
        ("DELETE", "Patient/p1", "read", ("delete", "D", "4", "insufficient_scope", "Patient/p1")),
        ("DELETE", "Patient/p1", "all", ("delete", "D", "0", None, "Patient/p1/_history/2")),
    ],
)
def test_a_request_leaves_one_event(
    audited: FlaskClient, store: SqlStore, method: str, path: str, token: str, told: tuple[Any, ...]
) -> None:
    """Row X25."""
    answer = send(audited, method, path, token=token)

    (event,) = _events(store)
    assert _told(event) == told
    assert event["entity"][-1]["what"]["identifier"]["value"] == answer.headers["X-Request-Id"]


def test_an_event_is_valid_and_names_client_token_and_tenant(audited: FlaskClient, store: SqlStore) -> None:
    """Row X25, IHE BALP: Read with OAUTHaccessTokenUse.Minimal; threat G12."""
    send(audited, "GET", "Patient/p1")
    send(audited, "GET", "Patient?name=smith")

    read, query = _events(store)
    assert [Validator(load_structures()).findings(one) for one in (read, query)] == [(), ()]
    assert [one["meta"]["profile"][0].rpartition(".")[2] for one in (read, query)] == ["Read", "Query"]
    assert [one["code"] for one in read["meta"]["tag"]] == ["mine"]
    assert [agent["who"].get("identifier", {}).get("value") for agent in read["agent"]] == [
        "bulk-client",
        None,
        "bulk-client",
    ]
    assert read["agent"][2]["policy"] == ["urn:ietf:params:oauth:jti:token-1"]
    assert [entity["what"].get("reference") for entity in read["entity"]] == ["Patient/p1", "Patient/p1", None]


def test_each_entry_of_a_bundle_leaves_its_own(audited: FlaskClient, store: SqlStore) -> None:
    """Row X25; a transaction's are stored with it."""
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Patient/p1", "Observation?status=final")]
    for kind in ("batch", "transaction"):
        assert send(audited, "POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries}).status_code == 200

    assert [event["subtype"][0]["code"] for event in _events(store)] == ["read", "search-type"] * 2


def test_a_refused_transaction_leaves_the_refusal(audited: FlaskClient, store: SqlStore) -> None:
    """Row X25: what it would have done is undone, its records too."""
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Patient/p1", "Patient/nobody")]

    send(audited, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    assert [_told(event)[:3] for event in _events(store)] == [("transaction", "E", "4")]


def test_without_a_good_token_there_is_no_event(audited: FlaskClient, store: SqlStore) -> None:
    """There is no tenant whose record it would be."""
    assert send(audited, "GET", "Patient/p1", token="nobody").status_code == 401
    assert audited.get("/fhir/metadata").status_code == 200

    assert _events(store, "") == _events(store) == []


class _Unwritable(SqlStore):
    """A store that takes no writes."""

    def __init__(self, store: SqlStore) -> None:
        self.__dict__.update(store.__dict__)

    def add(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> None:
        """Refuse."""
        raise StorageUnavailable(detail="full")


@pytest.mark.parametrize(("path", "token"), [("Patient/p1", "all"), ("Patient", "all"), ("Patient", "create")])
def test_what_cannot_be_recorded_is_not_answered(
    sqlite_store: SqlStore, definitions: Definitions, path: str, token: str
) -> None:
    """Row X25: 503, the refusal too; with the records off it is answered."""
    sqlite_store.put(MINE, [make_patient()], now=1)
    statuses = []
    for records in (True, False):
        app = make_app(
            _Unwritable(sqlite_store),
            definitions,
            introspection=FakeIntrospection(writing_tokens()),
            fhir_audit_reads=records,
        )
        statuses.append(send(app.test_client(), "GET", path, token=token).status_code)

    assert statuses == [503, 403 if token == "create" else 200]


class _Gathering(SqlStore):
    """A store whose first write waits until it is let go, and that remembers the sizes of its groups."""

    def __init__(self, store: SqlStore) -> None:
        self.__dict__.update(store.__dict__)
        self.begun, self.go = threading.Event(), threading.Event()
        self.groups: list[int] = []

    def add(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> None:
        """Write, the first time after a while."""
        self.groups.append(len(resources))
        self.begun.set()
        assert self.go.wait(60)
        super().add(constraint, resources, now=now)


@pytest.fixture
def gathering(sqlite_store: SqlStore) -> Iterator[_Gathering]:
    """The store; let go at the end, whatever happened."""
    store = _Gathering(sqlite_store)
    yield store
    store.go.set()


def test_requests_that_come_meanwhile_are_recorded_together(gathering: _Gathering, sqlite_store: SqlStore) -> None:
    """One commit for many: eight that wait behind the first are one group."""
    events = GroupedEvents(gathering)
    threads = [
        threading.Thread(target=events.write, args=("mine", {"resourceType": "AuditEvent", "id": f"e{number}"}))
        for number in range(9)
    ]

    threads[0].start()
    assert gathering.begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    while events.waiting() < 8:
        time.sleep(0.01)
    gathering.go.set()
    for thread in threads:
        thread.join(60)

    assert (gathering.groups, len(_events(sqlite_store))) == ([1, 8], 9)


def test_a_group_waits_for_as_many_as_came_last_time(gathering: _Gathering, sqlite_store: SqlStore) -> None:
    """While one was written two came: three are waited for, each time."""
    events = GroupedEvents(gathering, patience=60)
    names = iter(range(7))

    def begin() -> threading.Thread:
        event = {"resourceType": "AuditEvent", "id": f"e{next(names)}"}
        thread = threading.Thread(target=events.write, args=("mine", event))
        thread.start()
        return thread

    first = begin()
    assert gathering.begun.wait(60)
    threads = [begin(), begin()]
    while events.waiting() < 2:
        time.sleep(0.01)
    gathering.go.set()
    first.join(60)
    for thread in [*threads, begin()]:
        thread.join(60)
    for thread in [begin(), begin(), begin()]:
        thread.join(60)

    assert (gathering.groups, len(_events(sqlite_store))) == ([1, 3, 3], 7)


def test_nobody_waits_for_those_who_do_not_come(gathering: _Gathering, sqlite_store: SqlStore) -> None:
    """After two at once, one alone is recorded all the same."""
    events = GroupedEvents(gathering, patience=0.01)
    first, second = (
        threading.Thread(target=events.write, args=("mine", {"resourceType": "AuditEvent", "id": name}))
        for name in ("e1", "e2")
    )
    first.start()
    assert gathering.begun.wait(60)
    second.start()
    while events.waiting() < 1:
        time.sleep(0.01)
    gathering.go.set()
    for thread in (first, second):
        thread.join(60)

    events.write("mine", {"resourceType": "AuditEvent", "id": "e3"})

    assert (gathering.groups, len(_events(sqlite_store))) == ([1, 1, 1], 3)
