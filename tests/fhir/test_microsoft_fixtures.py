"""Bundles and resources that Microsoft's FHIR server is tested with (MIT), sent to ours over HTTP.

AUTHSERVER_TEST_MICROSOFT_FIXTURES names a folder with them: `Microsoft.Health.Fhir.Tests.Common/TestFiles` of
microsoft/fhir-server.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import Writable, all_pages, bearer, make_answer, make_patient, send

FOLDER = os.environ.get("AUTHSERVER_TEST_MICROSOFT_FIXTURES")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="AUTHSERVER_TEST_MICROSOFT_FIXTURES names no folder")

CHILD = "Patient/smart-leak-child"
COMPARTMENT = [f"system/Patient.rs?_id={CHILD.partition('/')[2]}"] + [
    f"system/{name}.rs?patient={CHILD}"
    for name in ("Observation", "Coverage", "Procedure", "DiagnosticReport", "Device", "Encounter")
]
INSIDE = {
    "smart-leak-child", "smart-leak-coverage", "smart-leak-child-obs", "smart-leak-child-obs-with-outside-focus",
    "smart-leak-child-procedure", "smart-leak-child-report", "smart-leak-child-obs-outside-device",
}  # fmt: skip
SEARCHES = [
    "Patient", "Observation", "Coverage", "Procedure", "DiagnosticReport", "Device",
    "?_type=Patient,Observation,Device",
    "Coverage?_include=Coverage:subscriber", "Coverage?_include=*", "Coverage?_include=Coverage:subscriber:Patient",
    "Observation?_include=Observation:focus&_count=1", "Observation?_include=Observation:device",
    "Observation?_include=*&_count=2",
    "Observation?_include:iterate=Observation:device&_include:iterate=Device:patient",
    "DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:focus",
    "DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:device",
    "Patient?_revinclude=Observation:focus", "Patient?_revinclude=Observation:*&_count=1",
    "Patient?_revinclude=Coverage:subscriber&_include:iterate=Coverage:subscriber",
    "Patient?_revinclude=Device:patient", "Observation?_revinclude=DiagnosticReport:result",
    "Patient?_revinclude=Observation:patient&_revinclude:iterate=DiagnosticReport:result",
    "Observation?_sort=-date&_include=Observation:focus&_count=1",
    "Observation?_sort=device&_include=Observation:device",
]  # fmt: skip
LOOKING_OUTSIDE = [
    "Coverage?subscriber:Patient.identifier=PARENT-SSN-000-00-1234", "Coverage?subscriber:Patient.gender=female",
    "Observation?device:Device.identifier=345679", "Observation?focus:Patient.birthdate=1985-11-02",
    "Observation?_has:DiagnosticReport:result:patient=smart-leak-parent",
    "Patient?_has:Observation:focus:patient=smart-leak-parent", "Device?_has:Observation:device:status=final",
]  # fmt: skip


def _fixture(name: str) -> Any:
    return json.loads((Path(FOLDER or "") / f"{name}.json").read_text("utf-8-sig"))


@pytest.fixture
def family(api: FlaskClient, writable: Writable) -> FlaskClient:
    """The client, over the resources of a child and its parent; the token `child` opens the child's alone."""
    bundle = _fixture("SmartCompartmentLeak")
    practitioner = {"resourceType": "Practitioner", "id": "smart-practitioner-A"}
    request = {"method": "PUT", "url": "Practitioner/smart-practitioner-A"}
    entries = [{"resource": practitioner, "request": request}, *bundle["entry"]]
    stored = send(api, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert stored.status_code == 200, stored.get_json()
    writable.introspection.answers["child"] = make_answer(tenant="mine", scope=" ".join(COMPARTMENT))
    return api


def _found(api: FlaskClient, search: str, token: str) -> set[str]:
    separator = "" if search.startswith("?") else "/"
    pages = all_pages(api, f"/fhir{separator}{search}", bearer(token))
    return {
        entry["resource"]["id"]
        for page in pages
        for entry in page.get("entry", [])
        if entry["search"]["mode"] != "outcome"
    }


@pytest.mark.parametrize("search", SEARCHES)
def test_no_search_leaves_the_compartment(family: FlaskClient, search: str) -> None:
    """Leak L5: by no include, no `:iterate` and no later page."""
    assert _found(family, search, "child") <= INSIDE


def test_the_searches_find_the_compartment_and_others_find_more(family: FlaskClient) -> None:
    """The positive control."""
    child, every = (set().union(*(_found(family, one, token) for one in SEARCHES)) for token in ("child", "all"))

    assert child == INSIDE
    assert {"smart-leak-parent", "smart-leak-focus-obs", "smart-leak-parent-device"} <= every


@pytest.mark.parametrize("search", LOOKING_OUTSIDE)
def test_no_predicate_tells_of_what_is_outside(family: FlaskClient, search: str) -> None:
    """Leak L2; the positive control is the token that sees everything."""
    outside, seen = _found(family, search, "child"), _found(family, search, "all")

    assert outside == set()
    assert seen


ANSWERS = [
    ("Bundle-Batch", 200, "201 201 201 201 412 204 204 404 200 404"),
    ("Bundle-BatchWithDuplicatedItems", 200, "201 201 400 400 204 204 404 200 404"),
    ("Bundle-TransactionForRollBack", 404, "Bundle.entry[1]"),
    ("Bundle-TransactionWithConditionalCreateAndReference", 422, "Bundle.entry[0].resource.identifier[0].system"),
    ("Bundle-TransactionWithConditionalReferenceInResourceBody", 412, "Bundle.entry[0]"),
    ("Bundle-TransactionWithConditionalUpdateAndReference", 422, "Bundle.entry[0].resource.identifier[0].system"),
    ("Bundle-TransactionWithForeignReferenceInResourceBody", 422, "Observation"),
    ("Bundle-TransactionWithMultipleEntriesModifyingSameResource", 400, "Bundle.entry[1]"),
    ("Bundle-TransactionWithMultipleResourcesWithSameFullUrl", 404, "Bundle.entry[3]"),
    ("Bundle-TransactionWithReferenceInResourceBody", 200, "201 201 201 201 201 201"),
    ("ObservationWithInvalidStatus", 422, "Observation.status"),
    ("ObservationWithNoCode", 422, "Observation.code"),
    ("PatientWithUnknownElements", 422, "Patient.name1"),
]
"""The statuses of the entries, or where the first issue is; the fixtures have wrong ids and uris on purpose."""


def _stored(api: FlaskClient) -> int:
    types = ("Patient", "Observation", "ImagingStudy")
    return sum(send(api, "GET", f"{name}?_summary=count").get_json()["total"] for name in types)


DONE = "Bundle-TransactionWithReferenceInResourceBody"
REFERRED = make_patient("referred", identifier=[{"system": "http:/example.org/fhir/ids", "value": "234234"}])
"""What the transaction that is done refers to by search."""


@pytest.mark.parametrize(("name", "status", "told"), ANSWERS, ids=[name for name, _, _ in ANSWERS])
def test_a_fixture_is_answered(api: FlaskClient, name: str, status: int, told: str) -> None:
    """Rows C8 to C10: entries of a batch stand alone, a refused transaction says which entry."""
    body = _fixture(name)
    if name == DONE:
        send(api, "PUT", "Patient/referred", REFERRED)

    answer = send(api, "POST", "" if body["resourceType"] == "Bundle" else body["resourceType"], body)

    content = answer.get_json()
    shown = " ".join(entry["response"]["status"][:3] for entry in content.get("entry", []))
    assert (answer.status_code, shown or content["issue"][0]["expression"][0]) == (status, told)


@pytest.mark.parametrize("name", [name for name, status, _ in ANSWERS if status != 200 and name.startswith("Bundle")])
def test_a_refused_transaction_leaves_nothing(api: FlaskClient, name: str) -> None:
    """The positive control is the one that is done."""
    send(api, "POST", "", _fixture(name))
    refused = _stored(api)
    send(api, "PUT", "Patient/referred", REFERRED)
    send(api, "POST", "", _fixture(DONE))
    done = _stored(api)

    assert (refused, done) == (1, 5)
