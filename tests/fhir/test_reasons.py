"""Each refusal of the FHIR layer gives its reason to the log, as docs/errors.md says. Row X48."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from authserver.errors import IntrospectionUnavailable, StorageUnavailable
from authserver.fhir.store.engine import make_engine, writing
from tests.fhir.builders import ON_SQLITE, ListLog, Writable, bearer, make_observation, make_patient, send

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "token_required": ("/fhir/Patient", {}),
    "token_not_active": ("/fhir/Patient", {"headers": bearer("nobody-knows-it")}),
    "token_outside_header": ("/fhir/Patient?access_token=x", {"headers": bearer()}),
    "unsupported_parameter": ("/fhir/Patient?flavour=vanilla", {"headers": bearer()}),
    "malformed_parameter": ("/fhir/Patient?birthdate=yesterday", {"headers": bearer()}),
    "operation_not_supported": ("/fhir/Patient/$nothing", {"headers": bearer()}),
}


@pytest.mark.parametrize("reason", CASES)
def test_the_log_says_the_reason_of_a_refusal(client: FlaskClient, log: ListLog, reason: str) -> None:
    path, options = CASES[reason]

    answer = client.get(path, **options)

    assert answer.status_code >= 400
    assert [event.get("reason") for event in log.events] == [reason]


def test_a_granted_request_has_no_reason(client: FlaskClient, log: ListLog) -> None:
    client.get("/fhir/Patient", headers=bearer())

    assert [event.get("reason") for event in log.events] == [None]


def test_no_answer_about_a_token_has_its_reason() -> None:
    assert IntrospectionUnavailable().reason == "introspection_unavailable"


def test_two_writers_of_one_key_have_their_reason(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/fhir.db")
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE once (id INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO once VALUES (1)"))

    with pytest.raises(StorageUnavailable) as refused, writing(engine) as connection:
        connection.execute(text("INSERT INTO once VALUES (1)"))

    engine.dispose()
    assert refused.value.reason == "write_conflict"


OBSERVATION = {name: value for name, value in make_observation().items() if name != "id"}
PATIENT_ENTRY = {"request": {"method": "PUT", "url": "Patient/p1"}, "resource": make_patient()}


def _transaction(*entries: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def _observed(**members: Any) -> dict[str, Any]:
    return {"request": {"method": "POST", "url": "Observation"}, "resource": {**OBSERVATION, **members}}


# Reason -> method, path, body, and the token or headers.
WRITES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "json_malformed": ("POST", "Patient", b"{", {}),
    "media_type": ("POST", "Patient", b"<a/>", {"Content_Type": "text/xml"}),
    "resource_malformed": ("POST", "Patient", {}, {}),
    "resource_type_mismatch": ("POST", "Patient", {"resourceType": "Group"}, {}),
    "id_mismatch": ("PUT", "Patient/p1", make_patient("p2"), {}),
    "invalid_resource": ("POST", "Patient", make_patient(gender="x"), {}),
    "unexpected_parameter": ("POST", "Patient?x=1", make_patient(), {}),
    "condition_malformed": ("PUT", "Patient/p1", make_patient(), {"If_Match": "1"}),
    "version_conflict": ("PUT", "Patient/p1", make_patient(), {"If_Match": 'W/"9"'}),
    "exists_already": ("PUT", "Patient/p1", make_patient(), {"If_None_Match": "*"}),
    "several_matches": ("DELETE", "Observation?code=4548-4", None, {}),
    "outside_scope": ("POST", "Observation", {**OBSERVATION, "status": "amended"}, {"token": "final"}),
    "unresolved_reference": ("POST", "Observation", {**OBSERVATION, "subject": {"reference": "Patient/x"}}, {}),
    "patch_malformed": ("PATCH", "Patient/p1", {}, {"Content_Type": "application/json-patch+json"}),
    "patch_failed": (
        "PATCH", "Patient/p1", [{"op": "remove", "path": "/x"}], {"Content_Type": "application/json-patch+json"}),
    "bundle_malformed": ("POST", "", {}, {}),
    "too_many_entries": ("POST", "", _transaction(*[PATIENT_ENTRY] * 2_001), {}),
    "entry_malformed": ("POST", "", _transaction({}), {}),
    "entries_clash": ("POST", "", _transaction(PATIENT_ENTRY, PATIENT_ENTRY), {}),
    "reference_matches": ("POST", "", _transaction(_observed(subject={"reference": "Patient?_id=x"})), {}),
    "operation_in_bundle": (
        "POST", "", _transaction({"request": {"method": "GET", "url": "Patient/p1/$everything"}}), {}),
    "operation_parameter": ("GET", "Patient/p1/$everything?id=p2", None, {}),
    "gone": ("GET", "Patient/deleted", None, {}),
}  # fmt: skip


@ON_SQLITE
@pytest.mark.parametrize("reason", WRITES)
def test_the_log_says_the_reason_of_a_refused_write(api: FlaskClient, writable: Writable, reason: str) -> None:
    """Row X48."""
    for resource in (make_observation("a"), make_observation("b"), make_patient("deleted")):
        send(api, "PUT", f"{resource['resourceType']}/{resource['id']}", resource)
    send(api, "DELETE", "Patient/deleted")
    writable.log.events.clear()
    method, path, body, options = WRITES[reason]

    answer = send(api, method, path, body, **options)

    assert answer.status_code >= 400
    assert [event.get("reason") for event in writable.log.events] == [reason]
