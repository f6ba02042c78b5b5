"""The same requests about what is hidden by criteria, hidden by tenant, and absent: for tests and for the bench."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import FakeIntrospection, make_answer, make_app, make_observation, make_patient, send

SIDES = ("absent", "criteria", "tenant")
SEEN = "seen"
SCOPE = (
    "system/Observation.cruds?category=laboratory system/Patient.cruds?gender=female "
    "system/Composition.cruds?status=final system/Group.rs?type=person"
)

Call = tuple[str, str, Any, Mapping[str, str]]

_NEW = make_observation("{}", subject={"reference": "Patient/{}"})
_PATCH = [{"op": "add", "path": "/issued", "value": "2024-05-11T12:00:00Z"}]
_NOBODY = {"display": "x"}
_FORM = {"Content_Type": "application/x-www-form-urlencoded"}
_JSON_PATCH = {"Content_Type": "application/json-patch+json"}


def _bundle(kind: str, method: str, url: str, resource: Any = None) -> dict[str, Any]:
    entry = {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}
    return {"resourceType": "Bundle", "type": kind, "entry": [entry]}


CALLS: dict[str, Call] = {
    "read": ("GET", "Observation/{}", None, {}),
    "head": ("HEAD", "Observation/{}", None, {}),
    "vread": ("GET", "Observation/{}/_history/1", None, {}),
    "history": ("GET", "Observation/{}/_history", None, {}),
    "history since": ("GET", "Observation/{}/_history?_since=2001", None, {}),
    "search by id": ("GET", "Observation?_id={}", None, {}),
    "search by code": ("GET", "Observation?code={}", None, {}),
    "search by form": ("POST", "Observation/_search", b"code={}", _FORM),
    "system search": ("POST", "_search", b"_type=Observation,Patient&_id={}", _FORM),
    "chain": ("GET", "Observation?patient._id={}", None, {}),
    "_has": ("GET", "Patient?_has:Observation:patient:code={}", None, {}),
    "_include": ("GET", "Observation?_id=seen-{}&_include=Observation:patient", None, {}),
    "_revinclude": ("GET", "Patient?_id=seen-{}&_revinclude=Observation:patient", None, {}),
    "create that refers": ("POST", "Observation", _NEW, {}),
    "conditional create": ("POST", "Observation", make_observation(subject=_NOBODY), {"If_None_Exist": "code={}"}),
    "update": ("PUT", "Observation/{}", _NEW, {}),
    "update if unchanged": ("PUT", "Observation/{}", _NEW, {"If_Match": 'W/"1"'}),
    "conditional update": ("PATCH", "Observation?_id={}", _PATCH, _JSON_PATCH),
    "patch": ("PATCH", "Observation/{}", _PATCH, _JSON_PATCH),
    "delete": ("DELETE", "Observation/{}", None, {}),
    "conditional delete": ("DELETE", "Observation?_id={}", None, {}),
    "batch": ("POST", "", _bundle("batch", "GET", "Observation/{}"), {}),
    "transaction": ("POST", "", _bundle("transaction", "GET", "Observation/{}"), {}),
    "$validate": ("POST", "Observation/{}/$validate", _NEW, {}),
    "$everything": ("GET", "Patient/{}/$everything", None, {}),
    "$summary": ("GET", "Patient/{}/$summary", None, {}),
    "$document": ("GET", "Composition/{}/$document", None, {}),
}  # fmt: skip
"""Interaction -> what is asked; `{}` is the id, of one length on every side. None of them changes a hidden resource."""


def name(side: str, number: int = 0) -> str:
    """Return the id of a resource of a side."""
    return f"{side:x<8}-{number:03}"


def _resources(side: str, number: int) -> list[dict[str, Any]]:
    """Return an Observation of some size with a code of its own, a Patient, a Composition; only `seen` is in scope."""
    own, seen = name(side, number), side == SEEN
    code = {"coding": [{"system": "http://loinc.org", "code": own}]}
    category = "laboratory" if seen else "vital-signs"
    of_own = {"reference": f"Patient/{own}"}
    photo = [{"data": "eHh4" * 250}]
    return [
        make_observation(own, category=category, code=code, note=[{"text": "x" * 1_000}], subject=of_own),
        make_patient(own, gender="female" if seen else "male", photo=photo),
        {"resourceType": "Composition", "id": own, "status": "final" if seen else "amended"},
    ]


def _referring(side: str, number: int) -> list[dict[str, Any]]:
    """Return what is seen of either side: an Observation about a Patient of the side, and a Patient."""
    own = name(side, number)
    about = make_observation(f"seen-{own}", subject={"reference": f"Patient/{own}"})
    return [about, make_patient(f"seen-{own}", gender="female")]


def fill(store: SqlStore, numbers: Sequence[int] = (0,)) -> None:
    """Put the hidden and the seen into the store."""
    moment = 1_700_000_000_000_000
    for tenant, side in (("mine", "criteria"), ("mine", SEEN), ("other", "tenant")):
        found = [one for number in numbers for one in _resources(side, number)]
        store.put(Constraint.system(tenant), found, now=moment)
    seen = [one for side in (*SIDES, SEEN) for number in numbers for one in _referring(side, number)]
    store.put(Constraint.system("mine"), seen, now=moment)


def client_of(store: SqlStore, definitions: Definitions) -> FlaskClient:
    """Return a client of an app that keeps no record of reads, with the token that sees what is in scope."""
    tokens = FakeIntrospection({"all": make_answer(tenant="mine", scope=SCOPE, exp=2**40)})
    return make_app(store, definitions, introspection=tokens).test_client()


def ask(client: FlaskClient, call: Call, resource_id: str) -> TestResponse:
    """Send the request about the resource."""
    method, path, body, headers = call
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if sent is not None:
        sent = sent.replace(b"{}", resource_id.encode())
    named = {key: value.replace("{}", resource_id) for key, value in headers.items()}
    answer: TestResponse = send(client, method, path.replace("{}", resource_id), sent, **named)
    return answer
