"""What is stored is what was sent: every digit, every order, every character, by each way in and each way out.

`AUTHSERVER_TEST_FHIR_DATA` names a folder with HL7's own examples of R4, one a line in `r4-examples/sample.ndjson.gz`,
for a run over all of them; a short run over our own resources is in the suite.
"""

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authserver.fhir import exact_json
from authserver.fhir.app import EXPORT_WORKER
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.exact_json import ExactDecimal
from authserver.fhir.interactions.links import Links
from authserver.fhir.store.sql_store import SqlStore
from authserver.fhir.store.writing import CREATED_AT
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator
from tests.fhir.builders import (
    BASE,
    FakeIntrospection,
    bearer,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    send,
)

DATA = "AUTHSERVER_TEST_FHIR_DATA"
TAG = "https://clinikapi.com/tenant"
SECONDS = 120

Resource = dict[str, Any]
Key = tuple[str, str]

FAULTY: dict[Key, str] = {
    ("ActivityDefinition", "blood-tubes-supply"): "its narrative says nothing (txt-2)",
    ("ActivityDefinition", "heart-valve-replacement"): "its narrative says nothing (txt-2)",
    ("DeviceMetric", "example"): "parent refers to a type that is no target of it",
    ("DeviceUseStatement", "example"): "reasonReference refers to a type that is no target of it",
    ("EventDefinition", "example"): "its narrative says nothing (txt-2)",
    ("Questionnaire", "qs1"): "its items have no linkId",
    ("Questionnaire", "zika-virus-exposure-assessment"): "its narrative says nothing (txt-2)",
    ("SearchParameter", "valueset-extensions-ValueSet-author"): "it has no base",
}
"""The official examples that R4 itself refuses, and why."""


def _decimals(*texts: str) -> Resource:
    parts = [{"code": {"text": text}, "valueQuantity": {"value": ExactDecimal(text)}} for text in texts]
    return make_observation("decimals", component=parts)


OWN: list[Resource] = [
    make_patient(),
    _decimals("1.00", "1e3", "1E3", "1.0e-3", "-0.0", "0.000000000000000000000000000001", "0.10"),
    _decimals("1234567890123456789012345678901234567890", "9007199254740993", "3.14159265358979323846264338327950288")
    | {"id": "large"},
    make_patient(
        "text",
        name=[
            {"family": "Zoë e\u0301 \u00e9 \u2028\u2029\u0085 \U0001f600 \u202e\ufeff"},
            {"text": 'a\nb\tc "\\" </script> &amp;'},
            {"given": ["b", "a", "b"]},
        ],
    ),
    make_patient(
        "gaps",
        birthDate="1970-03",
        _birthDate={"extension": [{"url": "http://x", "valueDecimal": ExactDecimal("1.10")}]},
        _gender={"extension": [{"url": "http://x", "valueCode": "unknown"}]},
        name=[
            {"given": ["a", None], "_given": [None, {"id": "g", "extension": [{"url": "http://y", "valueInteger": 0}]}]}
        ],
    ),
    make_patient(
        "inside",
        contained=[
            {"resourceType": "Organization", "id": "o", "name": "x", "meta": {"profile": ["http://x/y"]}},
            {"resourceType": "Practitioner", "id": "q", "name": [{"family": "y"}]},
        ],
        managingOrganization={"reference": "#o"},
        generalPractitioner=[{"reference": "#q"}, {"reference": "http://elsewhere.example/fhir/Practitioner/1"}],
    ),
    make_patient(
        "meta",
        meta={
            "profile": ["http://x/b", "http://x/a"],
            "tag": [{"system": "http://x", "code": "b"}, {"system": "http://x", "code": "a"}],
            "security": [{"code": "R"}],
            "source": "http://x#1",
            "extension": [{"url": "http://x", "valueString": "mine"}],
        },
    ),
    {"resourceType": "Binary", "id": "bin", "contentType": "text/plain", "data": "AAECAw=="},
    {"resourceType": "Bundle", "id": "b", "type": "collection"}
    | {"entry": [{"fullUrl": "http://x/Patient/p", "resource": make_patient("p")}]},
    {"resourceType": "Parameters", "id": "p", "parameter": [{"name": "n", "valueDecimal": ExactDecimal("2.50")}]},
]


def _app(store: SqlStore, definitions: Definitions) -> Flask:
    scopes = {"all": "system/*.cruds", "auditor": "system/AuditEvent.r"}
    tokens = FakeIntrospection({name: make_answer(tenant="mine", scope=scope) for name, scope in scopes.items()})
    return make_app(store, definitions, introspection=tokens, fhir_max_body_bytes=50_000_000)


@pytest.fixture
def apps(store: SqlStore, definitions: Definitions) -> Iterator[Flask]:
    """An app over a store with the Patient that Observations are of; its worker stops before the store is closed."""
    store.put(Constraint.system("mine"), [make_patient()], now=1)
    app = _app(store, definitions)
    yield app
    app.extensions[EXPORT_WORKER].stop()


def _put(client: FlaskClient, resources: Sequence[Resource]) -> list[bytes]:
    for one in resources:
        answer = send(client, "PUT", _name(one), exact_json.dumps(one))
        assert answer.status_code in (200, 201), (_name(one), answer.get_json())
    return [_read(client, _name(one)) for one in resources]


def _posted(client: FlaskClient, resources: Sequence[Resource]) -> list[bytes]:
    found = []
    for one in resources:
        answer = send(client, "POST", one["resourceType"], exact_json.dumps(one))
        assert answer.status_code == 201, (_name(one), answer.get_json())
        found.append(_read(client, answer.headers["Location"].removeprefix(f"{BASE}/")))
        assert found[-1] == answer.get_data()
    return found


def _in_a_bundle(client: FlaskClient, resources: Sequence[Resource], kind: str) -> list[bytes]:
    entries = [{"resource": one, "request": {"method": "PUT", "url": _name(one)}} for one in resources]
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    answer = send(client, "POST", "", exact_json.dumps(bundle))
    assert answer.status_code == 200, answer.get_json()
    statuses = {entry["response"]["status"] for entry in answer.get_json()["entry"]}
    assert statuses <= {"200 OK", "201 Created"}
    return [_read(client, _name(one)) for one in resources]


def _exported(client: FlaskClient, resources: Sequence[Resource]) -> list[bytes]:
    _put(client, resources)
    headers = {**bearer("all"), "Prefer": "respond-async"}
    status = (
        client.get("/fhir/$export", headers=headers).headers["Content-Location"].removeprefix("https://fhir.example")
    )
    deadline = time.monotonic() + SECONDS
    while (answer := client.get(status, headers=bearer("all"))).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    urls = [output["url"].removeprefix("https://fhir.example") for output in answer.get_json()["output"]]
    files = [client.get(url, headers=bearer("all")).get_data() for url in urls]
    lines = {_key(exact_json.loads(line)): line for file in files for line in file.removesuffix(b"\n").split(b"\n")}
    return [lines[_key(one)] for one in resources]


def _searched(client: FlaskClient, resources: Sequence[Resource]) -> list[bytes]:
    _put(client, resources)
    answers = [send(client, "GET", f"{one['resourceType']}?_id={one['id']}").get_data() for one in resources]
    return [exact_json.dumps(exact_json.loads(body)["entry"][0]["resource"]) for body in answers]


WAYS: dict[str, Callable[[FlaskClient, Sequence[Resource]], list[bytes]]] = {
    "PUT": _put,
    "POST": _posted,
    "batch": lambda client, resources: _in_a_bundle(client, resources, "batch"),
    "transaction": lambda client, resources: _in_a_bundle(client, resources, "transaction"),
    "export": _exported,
    "search": _searched,
}


def _read(client: FlaskClient, path: str, token: str = "all") -> bytes:
    answer = send(client, "GET", path, token=token)
    assert answer.status_code == 200, path
    body: bytes = answer.get_data()
    return body


def _name(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _key(resource: Resource) -> Key:
    return resource["resourceType"], resource["id"]


def _value(body: bytes, *, with_id: bool) -> Any:
    """The JSON value with its numbers as they are written, without what is the server's: version, time, tag, id."""
    value = json.loads(body, parse_float=lambda text: ("number", text), parse_int=lambda text: ("number", text))
    meta = {name: one for name, one in value.pop("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    for name, theirs in (("tag", {"system": TAG}), ("extension", {"url": CREATED_AT})):
        kept = [one for one in meta.pop(name, []) if not theirs.items() <= one.items()]
        meta |= {name: kept} if kept else {}
    if not with_id:
        del value["id"]
    return {**value, **({"meta": meta} if meta else {})}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_read_is_what_was_written(apps: Flask, way: str) -> None:
    """http://hl7.org/fhir/R4/json.html#primitive: precision is kept; arrays keep their order, null gaps among them."""
    found = WAYS[way](apps.test_client(), OWN)

    with_id = way != "POST"
    assert [_value(one, with_id=with_id) for one in found] == [
        _value(exact_json.dumps(one), with_id=with_id) for one in OWN
    ]


def test_the_comparison_sees_digits_and_order() -> None:
    """A positive control: what the comparison must not take for equal."""
    pairs = [(b'{"a":1.0}', b'{"a":1.00}'), (b'{"a":[1,2]}', b'{"a":[2,1]}'), (b'{"a":1e3}', b'{"a":1000}')]

    texts = [
        (_value(one[:-1] + b',"id":"x"}', with_id=False), _value(two[:-1] + b',"id":"y"}', with_id=False))
        for one, two in pairs
    ]

    assert [one == two for one, two in texts] == [False] * 3


@pytest.fixture(scope="module")
def examples() -> list[Resource]:
    """The official examples."""
    with gzip.open(Path(os.environ[DATA]) / "r4-examples/sample.ndjson.gz") as lines:
        return [exact_json.loads(line) for line in lines]


@pytest.mark.skipif(DATA not in os.environ, reason=f"{DATA} names no folder with FHIR's examples")
@pytest.mark.parametrize("way", WAYS)
def test_every_official_example_is_read_as_it_was_written(
    sqlite_store: SqlStore, definitions: Definitions, examples: list[Resource], way: str
) -> None:
    """The valid ones but the AuditEvents, which the server alone writes; what they refer to is put there before."""
    writable = [one for one in examples if _key(one) not in FAULTY and one["resourceType"] != "AuditEvent"]
    links = Links(load_structures(), base_url=BASE)
    targets = sorted(frozenset[Key]().union(*(links.local(one) for one in writable)))
    sqlite_store.put(Constraint.system("mine"), [{"resourceType": name, "id": key} for name, key in targets], now=1)
    app = _app(sqlite_store, definitions)

    try:
        found = WAYS[way](app.test_client(), writable)
    finally:
        app.extensions[EXPORT_WORKER].stop()

    with_id = way != "POST"
    differing = [
        _name(sent)
        for sent, stored in zip(writable, found, strict=True)
        if _value(exact_json.dumps(sent), with_id=with_id) != _value(stored, with_id=with_id)
    ]
    assert (len(found), differing) == (450, [])


@pytest.mark.skipif(DATA not in os.environ, reason=f"{DATA} names no folder with FHIR's examples")
def test_every_example_that_is_not_stored_has_a_fault(
    sqlite_store: SqlStore, definitions: Definitions, examples: list[Resource]
) -> None:
    """Row C1: refused over HTTP as the validator finds, and AuditEvents whatever they are (row X25)."""
    client = _app(sqlite_store, definitions).test_client()
    validator = Validator(load_structures())

    refused = {
        _key(one): send(client, "PUT", _name(one), exact_json.dumps(one)).status_code
        for one in examples
        if validator.findings(one) or one["resourceType"] == "AuditEvent"
    }

    assert {key for key, status in refused.items() if status == 422} == FAULTY.keys()
    assert [status for (name, _), status in refused.items() if name == "AuditEvent"] == [403] * 8


@pytest.mark.skipif(DATA not in os.environ, reason=f"{DATA} names no folder with FHIR's examples")
def test_official_audit_events_that_an_operator_loads_are_read_as_they_were(
    sqlite_store: SqlStore, definitions: Definitions, examples: list[Resource]
) -> None:
    events = [one for one in examples if one["resourceType"] == "AuditEvent"]
    sqlite_store.put(Constraint.system("mine"), events, now=1)
    client = _app(sqlite_store, definitions).test_client()

    found = [_read(client, _name(one), "auditor") for one in events]

    assert [_value(one, with_id=True) for one in found] == [
        _value(exact_json.dumps(one), with_id=True) for one in events
    ]
