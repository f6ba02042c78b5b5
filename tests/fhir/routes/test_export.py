"""The export over HTTP: kick-off, status, files, cancelling, and who may."""

import gzip
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from authserver import clock
from authserver.fhir.app import EXPORT_WORKER
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.port import FhirStore
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import (
    BASE,
    FakeIntrospection,
    ListLog,
    bearer,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    outcome,
)

ASYNC = {"Prefer": "respond-async"}
GROUP = {
    "resourceType": "Group",
    "id": "g",
    "type": "person",
    "actual": True,
    "member": [{"entity": {"reference": "Patient/f"}}, {"entity": {"reference": "Patient/m"}}],
}
VISIBLE = [
    make_patient("f", gender="female"),
    make_observation("lab", subject={"reference": "Patient/f"}),
    GROUP,
]
HIDDEN = [
    make_patient("m", gender="male"),
    make_observation("vital", category="vital-signs", subject={"reference": "Patient/f"}),
    make_observation("of-m", category="vital-signs", subject={"reference": "Patient/m"}),
    {"resourceType": "Encounter", "id": "e", "status": "finished", "subject": {"reference": "Patient/f"}},
    {"resourceType": "Group", "id": "hidden", "type": "animal", "actual": True},
]
TOKENS = {
    "other-client": make_answer(client_id="other"),
    "other-tenant": make_answer(tenant="t"),
    "patients": make_answer(scope="system/Patient.rs"),
    "groups": make_answer(scope="system/Group.rs"),
    "reading": make_answer(scope="system/Patient.r system/Observation.rs"),
    "nothing": make_answer(scope="system/Patient.c"),
    "narrow": make_answer(
        scope="system/Patient.rs?gender=female system/Observation.rs?category=laboratory system/Group.rs?type=person"
    ),
    "no-policy": make_answer(policy_decision={"allowed": False}),
    "expired": make_answer(exp=1),
    "good": make_answer(),
}


@pytest.fixture
def introspection() -> FakeIntrospection:
    """Some tokens."""
    return FakeIntrospection(TOKENS)


def _app(store: FhirStore, definitions: Definitions, introspection: FakeIntrospection, **settings: Any) -> Flask:
    return make_app(store, definitions, introspection=introspection, **settings)


@pytest.fixture
def app(
    sqlite_store: SqlStore, definitions: Definitions, introspection: FakeIntrospection, log: ListLog
) -> Iterator[Flask]:
    """The app over a Group of two patients; its worker stops before the store is closed."""
    sqlite_store.put(Constraint.system(""), [*VISIBLE, *HIDDEN], now=1_700_000_000_000_000)
    app = _app(sqlite_store, definitions, introspection, log=log)
    yield app
    app.extensions[EXPORT_WORKER].stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the app."""
    return app.test_client()


def _local(url: str) -> str:
    assert url.startswith(f"{BASE}/"), url
    return url.removeprefix("https://fhir.example")


def _kick_off(client: FlaskClient, path: str, token: str = "good", **members: Any) -> TestResponse:
    method = members.pop("method", "GET")
    return client.open(f"/fhir{path}", method=method, headers={**bearer(token), **ASYNC}, **members)


def _started(client: FlaskClient, path: str, token: str = "good", **members: Any) -> str:
    """Kick an export off and return the path of its status."""
    response = _kick_off(client, path, token, **members)
    assert (response.status_code, response.data) == (202, b"")
    return _local(response.headers["Content-Location"])


def _finished(client: FlaskClient, status: str, token: str = "good") -> TestResponse:
    """Poll until the export is done."""
    deadline = time.monotonic() + 5
    while (response := client.get(status, headers=bearer(token))).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return response


def _exported(client: FlaskClient, path: str, token: str = "good", **members: Any) -> dict[str, list[str]]:
    """Export and return the ids in each file."""
    document = _finished(client, _started(client, path, token, **members), token).get_json()
    return {output["type"]: _ids(client, output, token) for output in document["output"]}


def _ids(client: FlaskClient, output: Mapping[str, Any], token: str) -> list[str]:
    response = client.get(_local(output["url"]), headers=bearer(token))
    assert (response.status_code, response.content_type) == (200, "application/fhir+ndjson")
    lines = [json.loads(line) for line in response.data.splitlines()]
    assert len(lines) == output["count"]
    return [line["id"] for line in lines]


def test_an_export_from_kick_off_to_file(client: FlaskClient) -> None:
    """Rows A1 and X33: 202, poll, 200, and each line is what a read gives."""
    before = time.time()
    status = _started(client, "/$export?_type=Patient,Group")
    response = _finished(client, status)

    document = response.get_json()
    job = status.rpartition("/")[2]
    transaction_time = document.pop("transactionTime")
    assert (response.status_code, response.content_type) == (200, "application/json")
    assert document == {
        "request": f"{BASE}/$export?_type=Patient,Group",
        "requiresAccessToken": True,
        "output": [
            {"type": "Group", "url": f"{BASE}/$export-file/{job}/Group.ndjson", "count": 2},
            {"type": "Patient", "url": f"{BASE}/$export-file/{job}/Patient.ndjson", "count": 2},
        ],
        "error": [],
    }
    assert transaction_time.endswith("Z")
    expires = response.headers["Expires"]
    assert before + 3_500 < time.mktime(time.strptime(expires, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    lines = client.get(_local(document["output"][1]["url"]), headers=bearer()).data.splitlines()
    assert lines == [client.get(f"/fhir/Patient/{name}", headers=bearer()).data for name in ("f", "m")]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/$export?_type=Patient,Encounter", {"Patient": ["f", "m"], "Encounter": ["e"]}),
        ("/Patient/$export?_type=Patient,Encounter", {"Patient": ["f", "m"], "Encounter": ["e"]}),
        ("/Group/g/$export?_type=Group&_type=Encounter", {"Group": ["g"], "Encounter": ["e"]}),
    ],
)
def test_every_level_exports_by_both_methods(
    client: FlaskClient, method: str, path: str, expected: dict[str, list[str]]
) -> None:
    assert _exported(client, path, method=method) == expected


def test_without_types_an_export_has_all_that_the_token_opens(client: FlaskClient) -> None:
    assert _exported(client, "/$export", "patients") == {"Patient": ["f", "m"]}
    assert _exported(client, "/Patient/$export") == {
        "Encounter": ["e"], "Group": ["g"], "Observation": ["lab", "vital", "of-m"], "Patient": ["f", "m"],
    }  # fmt: skip


def test_a_body_may_name_types_patients_and_an_instant(client: FlaskClient, introspection: FakeIntrospection) -> None:
    """The policy is told of the body's parameters as of a query's."""
    parameters = [
        {"name": "_type", "valueString": "Patient,Observation"},
        {"name": "_since", "valueInstant": "2020-01-01T00:00:00Z"},
        {"name": "patient", "valueReference": {"reference": "Patient/m"}},
    ]

    found = _exported(
        client, "/Group/g/$export", method="POST", json={"resourceType": "Parameters", "parameter": parameters}
    )

    assert found == {"Observation": ["of-m"], "Patient": ["m"]}
    assert introspection.asked[0][1] == {
        "method": "POST",
        "path": "/fhir/Group/g/$export",
        "parameters": [["_type", "Patient,Observation"], ["_since", "2020-01-01T00:00:00Z"], ["patient", "Patient/m"]],
        "interaction": "operation",
        "resource_type": "Group",
        "resource_id": "g",
    }


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"json": {"resourceType": "Patient"}}, 400),
        ({"data": "_type=Patient", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"data": "{}", "content_type": "text/plain"}, 415),
        ({"data": "{}"}, 415),
        ({"data": b" " * 70_000, "content_type": "application/json"}, 413),
    ],
)
def test_a_body_that_is_no_parameters_resource_is_refused(
    client: FlaskClient, members: dict[str, Any], status: int
) -> None:
    assert _kick_off(client, "/$export", method="POST", **members).status_code == status


@pytest.mark.parametrize("prefer", [None, "respond-sync", "handling=lenient", "x-respond-async"])
def test_a_kick_off_needs_respond_async(client: FlaskClient, log: ListLog, prefer: str | None) -> None:
    headers = {**bearer(), **({"Prefer": prefer} if prefer else {})}

    assert outcome(client.get("/fhir/$export", headers=headers)) == (400, "invalid", "")
    assert log.events[-1]["reason"] == "prefer_respond_async"


@pytest.mark.parametrize(
    "prefer", ["respond-async", "respond-async, handling=lenient", "Handling=Lenient;Respond-Async"]
)
def test_respond_async_may_come_with_other_preferences(client: FlaskClient, prefer: str) -> None:
    response = client.get("/fhir/$export?_type=Patient", headers={**bearer(), "Prefer": prefer})

    assert response.status_code == 202


def test_other_parameters_are_refused_by_name_unless_the_client_is_lenient(client: FlaskClient) -> None:
    path = "/fhir/$export?_type=Patient&_typeFilter=Patient%3Fgender%3Dmale"

    strict = client.get(path, headers={**bearer(), **ASYNC})
    lenient = client.get(path, headers={**bearer(), "Prefer": "respond-async, handling=lenient"})

    assert outcome(strict) == (400, "not-supported", "http._typeFilter")
    assert lenient.status_code == 202


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("_outputFormat=json", "not-supported"),
        ("_type=Nonsense", "invalid"),
        ("_since=yesterday", "invalid"),
        ("patient=Patient/f", "not-supported"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(client: FlaskClient, query: str, code: str) -> None:
    name = query.partition("=")[0]

    assert outcome(_kick_off(client, f"/$export?{query}")) == (400, code, f"http.{name}")


def test_a_plus_that_became_a_space_is_no_matter(client: FlaskClient) -> None:
    query = "_outputFormat=application/fhir+ndjson&_since=2020-01-01T00:00:00+00:00&_type=Patient"

    assert _exported(client, f"/$export?{query}") == {"Patient": ["f", "m"]}


@pytest.mark.parametrize(
    ("token", "path", "needed"),
    [
        ("patients", "/$export?_type=Observation", "system/Observation.r"),
        ("reading", "/$export?_type=Patient", "system/Patient.s"),
        ("nothing", "/$export", "system/*.rs"),
        ("reading", "/Patient/$export?_type=Observation", "system/Patient.s"),
        ("patients", "/Group/g/$export", "system/Group.r"),
        ("groups", "/Group/g/$export", "system/Patient.r"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_scopes_do_not_open_is_403_and_says_which(
    client: FlaskClient, token: str, path: str, needed: str, method: str
) -> None:
    """Row A18, threat H10."""
    response = _kick_off(client, path, token, method=method)

    assert outcome(response) == (403, "forbidden", "")
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="fhir", error="insufficient_scope", scope="{needed}"'


@pytest.mark.parametrize("path", ["/$export", "/Patient/$export", "/Group/g/$export", "/$export-status/x"])
def test_who_may_not_is_refused_before_anything_is_looked_up(client: FlaskClient, path: str) -> None:
    """Rows A1, A8, A21; K2."""
    answers = [_kick_off(client, path, token).status_code for token in ("expired", "unknown", "no-policy")]

    assert client.get(f"/fhir{path}", headers=ASYNC).status_code == 401
    assert answers == [401, 401, 403]


@pytest.mark.parametrize("group", ["nobody", "hidden"])
def test_a_hidden_group_is_an_absent_one(client: FlaskClient, group: str) -> None:
    """Leak L9."""
    hidden, absent = (_kick_off(client, f"/Group/{name}/$export", "narrow") for name in (group, "other"))

    assert outcome(hidden) == (404, "not-found", "")
    assert hidden.data == absent.data
    assert _kick_off(client, "/Group/g/$export", "narrow").status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/$export", "GET, POST"),
        ("DELETE", "/Patient/$export", "GET, POST"),
        ("HEAD", "/Group/g/$export", "GET, POST"),
        ("POST", "/$export-status/x", "GET, HEAD, DELETE"),
        ("DELETE", "/$export-file/x/Patient.ndjson", "GET, HEAD"),
    ],
)
def test_other_methods_are_405(client: FlaskClient, method: str, path: str, allow: str) -> None:
    response = _kick_off(client, path, method=method)

    assert (response.status_code, response.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/Observation/$export", "/Patient/f/$export", "/Group/$export", "/$export/x"])
def test_paths_that_are_no_export_are_not_there(client: FlaskClient, path: str) -> None:
    assert outcome(_kick_off(client, path)) == (404, "not-supported", "")


def _held(store: SqlStore, client: FlaskClient, types: str = "Patient") -> str:
    """Start an export that another process holds, and return the path of its status."""
    now = clock.now()
    status = _started(client, f"/$export?_type={types}")
    _finished(client, status)
    job = store.export_jobs.find(status.rpartition("/")[2], client_id="bulk-client", tenant="")
    assert job is not None
    store.export_jobs.delete(job.id, client_id="bulk-client", tenant="")
    store.export_jobs.create(job.__class__(job.id, "bulk-client", "", job.request_url, job.spec, now), limit=9)
    assert store.export_jobs.claim("elsewhere", now=now, until=now + 60)
    return status


def test_an_unfinished_export_says_how_far_it_is(client: FlaskClient, sqlite_store: SqlStore) -> None:
    response = client.get(_held(sqlite_store, client), headers=bearer())

    assert (response.status_code, response.data) == (202, b"")
    assert (response.headers["Retry-After"], response.headers["X-Progress"]) == ("1", "0 of 1 resource types")


def test_an_export_that_failed_is_an_outcome(client: FlaskClient, sqlite_store: SqlStore, log: ListLog) -> None:
    status, now = _held(sqlite_store, client), clock.now()
    sqlite_store.export_jobs.give_up(attempts=1, now=now + 61, expires_at=now + 99)

    assert outcome(client.get(status, headers=bearer())) == (500, "exception", "")
    assert log.events[-1]["reason"] == "export_failed"


@pytest.mark.parametrize("token", ["other-client", "other-tenant", "patients", "narrow", "nothing"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_job_is_its_clients_alone_and_needs_all_its_scopes(
    client: FlaskClient, sqlite_store: SqlStore, token: str, finished: bool
) -> None:
    """K2, K3, threat H10: another client, tenant or a token that opens less is answered as if there were none."""
    types = "Patient,Observation"
    status = _started(client, f"/$export?_type={types}") if finished else _held(sqlite_store, client, types)
    outputs = _finished(client, status).get_json()["output"] if finished else []
    urls = [status, *(_local(output["url"]) for output in outputs)]

    answers = [client.get(url, headers=bearer(token)) for url in urls]
    answers.append(client.delete(status, headers=bearer(token)))
    absent = client.get("/fhir/$export-status/nothing", headers=bearer(token))

    assert {(answer.status_code, answer.data) for answer in answers} == {(404, absent.data)}
    assert [client.get(url, headers=bearer()).status_code for url in urls] == ([200] * 3 if finished else [202])


def test_files_and_status_need_a_token(client: FlaskClient) -> None:
    """K2: requiresAccessToken."""
    status = _started(client, "/$export?_type=Patient")
    (output,) = _finished(client, status).get_json()["output"]

    without = [client.get(url) for url in (status, _local(output["url"]))]
    expired = [client.get(url, headers=bearer("expired")) for url in (status, _local(output["url"]))]

    assert [response.status_code for response in (*without, *expired)] == [401] * 4
    assert client.delete(status).status_code == 401
    assert client.get(_local(output["url"]), headers=bearer()).status_code == 200


def test_a_file_is_compressed_for_who_asks(client: FlaskClient) -> None:
    (output,) = _finished(client, _started(client, "/$export?_type=Patient")).get_json()["output"]
    url = _local(output["url"])

    plain = client.get(url, headers=bearer())
    packed = client.get(url, headers={**bearer(), "Accept-Encoding": "gzip, deflate"})
    refused = client.get(url, headers={**bearer(), "Accept-Encoding": "gzip;q=0"})
    head = client.head(url, headers=bearer())

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data == refused.data
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(plain.data))


@pytest.mark.parametrize("name", ["Observation.ndjson", "Patient", "Patient.json"])
def test_a_file_that_the_job_has_not_is_404(client: FlaskClient, name: str) -> None:
    status = _started(client, "/$export?_type=Patient")
    _finished(client, status)

    response = client.get(f"{status.replace('$export-status', '$export-file')}/{name}", headers=bearer())

    assert outcome(response) == (404, "not-found", "")


def test_deleting_an_export_removes_it_and_its_files(client: FlaskClient, tmp_path: Path) -> None:
    status = _started(client, "/$export?_type=Patient")
    (output,) = _finished(client, status).get_json()["output"]
    written = list(tmp_path.rglob("*.ndjson"))

    deleted = client.delete(status, headers=bearer())

    assert (deleted.status_code, [path.name for path in written]) == (202, ["Patient.ndjson"])
    after = [client.get(url, headers=bearer()) for url in (status, _local(output["url"]))]
    assert [outcome(response) for response in after] == [(404, "not-found", "")] * 2
    assert client.delete(status, headers=bearer()).status_code == 404
    assert list(tmp_path.rglob("*.ndjson")) == []


def test_an_expired_export_is_gone(
    sqlite_store: SqlStore, definitions: Definitions, introspection: FakeIntrospection
) -> None:
    sqlite_store.put(Constraint.system(""), VISIBLE, now=0)
    app = _app(sqlite_store, definitions, introspection, fhir_export_lifetime=1)
    client = app.test_client()
    status = _started(client, "/$export?_type=Patient")
    assert _finished(client, status).status_code == 200
    # Without the worker, so that it is the answer that looks at the time.
    app.extensions[EXPORT_WORKER].stop()
    time.sleep(1.1)

    assert outcome(client.get(status, headers=bearer())) == (404, "not-found", "")


def test_more_unfinished_exports_than_a_client_may_have_are_429(client: FlaskClient, app: Flask, log: ListLog) -> None:
    app.extensions[EXPORT_WORKER].stop()
    statuses = [_kick_off(client, "/$export?_type=Patient") for _ in range(4)]
    other = _kick_off(client, "/$export?_type=Patient", "other-client")
    client.delete(_local(statuses[0].headers["Content-Location"]), headers=bearer())

    assert [response.status_code for response in statuses] == [202, 202, 202, 429]
    assert outcome(statuses[3]) == (429, "throttled", "")
    assert [event["reason"] for event in log.events if "reason" in event] == ["too_many_exports"]
    assert statuses[3].headers["Retry-After"] == "10"
    assert other.status_code == 202
    assert _kick_off(client, "/$export?_type=Patient").status_code == 202


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_export_outlives_a_restart(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    definitions: Definitions,
    introspection: FakeIntrospection,
    database: str,
) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres").create_database()
    first = open_store(url, definitions)
    first.put(Constraint.system(""), VISIBLE, now=0)
    before = _app(first, definitions, introspection, fhir_export_dir=tmp_path / "e")
    finished = _started(before.test_client(), "/$export?_type=Patient")
    document = _finished(before.test_client(), finished).get_json()
    before.extensions[EXPORT_WORKER].stop()
    queued = _started(before.test_client(), "/$export?_type=Group")
    first.close()

    again = open_store(url, definitions)
    after = _app(again, definitions, introspection, fhir_export_dir=tmp_path / "e")
    running = [thread.name for thread in threading.enumerate() if thread.name == "bulk-export"]
    outputs = [_finished(after.test_client(), status).get_json()["output"] for status in (finished, queued)]
    lines = _ids(after.test_client(), outputs[0][0], "good")
    after.extensions[EXPORT_WORKER].stop()
    again.close()

    assert running == ["bulk-export"]
    assert outputs[0] == document["output"]
    assert (lines, [output["type"] for output in outputs[1]]) == (["f"], ["Group"])


def test_a_database_without_the_table_of_jobs_gets_it(tmp_path: Path, definitions: Definitions) -> None:
    """A store made before there were exports."""
    url = f"sqlite:///{tmp_path}/x.db"
    open_store(url, definitions).close()
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("DROP TABLE fhir_export_job")
    connection.execute("UPDATE fhir_meta SET value = '1' WHERE name = 'schema_revision'")
    connection.commit()
    connection.close()

    store = open_store(url, definitions)

    assert store.export_jobs.ids() == frozenset()
    store.close()


@pytest.mark.parametrize("path", ["/$export", "/Patient/$export", "/Group/g/$export"])
def test_what_a_token_must_not_see_changes_no_byte(
    tmp_path: Path, definitions: Definitions, introspection: FakeIntrospection, path: str
) -> None:
    """Threat H10, rows X12 and A4: stores that differ only in what is hidden put out the same files."""
    exported = []
    for name, resources in (("without", VISIBLE), ("with", [*HIDDEN[:3], *VISIBLE, *HIDDEN[3:]])):
        store = open_store(f"sqlite:///{tmp_path}/{name}.db", definitions)
        store.put(Constraint.system(""), resources, now=0)
        if name == "with":
            store.put(Constraint.system("t"), [make_patient("foreign", gender="female"), GROUP], now=0)
        app = _app(store, definitions, introspection, fhir_export_dir=tmp_path / name)
        client = app.test_client()
        document = _finished(client, _started(client, path, "narrow"), "narrow").get_json()
        files = [client.get(_local(one["url"]), headers=bearer("narrow")).data for one in document["output"]]
        exported.append(([(one["type"], one["count"]) for one in document["output"]], files))
        app.extensions[EXPORT_WORKER].stop()
        store.close()

    assert exported[0] == exported[1]
    assert exported[1][0] == [("Group", 1), ("Observation", 1), ("Patient", 1)]


def test_a_store_without_export_has_no_such_operation(definitions: Definitions, log: ListLog) -> None:
    class Plain:
        cursor_secret = b""
        resource_types: frozenset[str] = frozenset()

    client = make_app(Plain(), definitions, log=log).test_client()  # type: ignore[arg-type] # it is never asked

    assert outcome(_kick_off(client, "/$export")) == (404, "not-supported", "")
    assert "instantiates" not in client.get("/fhir/metadata").get_json()


def test_the_statement_lists_the_operations(client: FlaskClient) -> None:
    """What clients and the Inferno test kit look for."""
    statement = client.get("/fhir/metadata").get_json()

    (rest,) = statement["rest"]
    exports = {one["type"]: [each for each in one["operation"] if each["name"] == "export"] for one in rest["resource"]}
    by_type = {resource_type: listed for resource_type, listed in exports.items() if listed}
    definition = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
    assert statement["instantiates"] == ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"]
    assert rest["operation"] == [{"name": "export", "definition": f"{definition}/export"}]
    assert by_type == {
        "Group": [{"name": "export", "definition": f"{definition}/group-export"}],
        "Patient": [{"name": "export", "definition": f"{definition}/patient-export"}],
    }


def test_the_log_tells_of_the_export_and_of_no_patient(
    sqlite_store: SqlStore, definitions: Definitions, introspection: FakeIntrospection, log: ListLog
) -> None:
    """Threat H17."""
    sqlite_store.put(Constraint.system(""), [make_patient("canary")], now=0)
    app = make_app(sqlite_store, definitions, introspection=introspection, log=log)
    status = _started(app.test_client(), "/$export?_type=Patient")
    _finished(app.test_client(), status)
    app.extensions[EXPORT_WORKER].stop()

    told = [event for event in log.events if event["event"] == "export_finished"]
    assert told == [{"event": "export_finished", "job": status.rpartition("/")[2], "resources": 1}]
    assert "canary" not in json.dumps(log.events)
