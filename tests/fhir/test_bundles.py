"""Batch and transaction over HTTP: each entry decided as if alone; a transaction done whole or not at all."""

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import (
    BASE,
    ON_SQLITE,
    FakeIntrospection,
    Writable,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    send,
)

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
OTHER_URN = "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"


def _entry(method: str, url: str, resource: Any = None, **members: Any) -> dict[str, Any]:
    full_url = members.pop("fullUrl", None)
    entry: dict[str, Any] = {"request": {"method": method, "url": url, **members}}
    if resource is not None:
        entry["resource"] = resource
    return {**entry, "fullUrl": full_url} if full_url else entry


def _post(api: FlaskClient, kind: str, *entries: Any, **options: Any) -> Any:
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
    return send(api, "POST", "", bundle, **options)


def _statuses(response: Any) -> list[str]:
    assert response.status_code == 200, response.get_json()
    return [entry["response"]["status"][:3] for entry in response.get_json()["entry"]]


def _refused(response: Any) -> tuple[int, str]:
    return response.status_code, response.get_json()["issue"][0].get("expression", [""])[0]


def _new(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in make_observation(**members).items() if name != "id"}


def _count(api: FlaskClient, resource_type: str = "Observation") -> int:
    return len(send(api, "GET", resource_type).get_json().get("entry", []))


# batch


def test_the_entries_of_a_batch_stand_alone(api: FlaskClient) -> None:
    """Decision table, batch; threat H08."""
    response = _post(
        api,
        "batch",
        _entry("POST", "Observation", _new()),
        _entry("POST", "Observation", {"resourceType": "Observation"}),
        _entry("GET", "Patient/p1"),
        _entry("GET", f"{BASE}/Patient?name=smith"),
        _entry("GET", "Patient/foreign"),
        _entry("PUT", "Observation/o1", make_observation("o1")),
        _entry("DELETE", "Observation/nobody"),
        _entry("GET", "Observation/o1/_history"),
        _entry("POST", "Patient/$validate", make_patient()),
    )

    entries = response.get_json()["entry"]
    assert _statuses(response) == ["201", "422", "200", "200", "404", "201", "204", "200", "200"]
    assert entries[0]["response"]["location"].startswith(f"{BASE}/Observation/")
    assert entries[0]["response"]["etag"] == 'W/"1"'
    assert entries[1]["response"]["outcome"]["issue"][0]["expression"] == ["Observation.status"]
    assert entries[2]["resource"]["id"] == "p1"
    assert entries[3]["resource"]["type"] == "searchset"


def test_each_entry_of_a_batch_needs_its_own_letter(api: FlaskClient) -> None:
    """Row A22, threats H08 and H18."""
    response = _post(
        api,
        "batch",
        _entry("GET", "Patient/p1"),
        _entry("DELETE", "Patient/p1"),
        _entry("POST", "Patient", make_patient()),
        token="read",
    )

    assert _statuses(response) == ["200", "403", "403"]
    assert _count(api, "Patient") == 1


@ON_SQLITE
def test_each_entry_is_shown_to_the_policies(api: FlaskClient, writable: Writable) -> None:
    """Threat H08: the envelope's decision is not the entry's."""
    writable.introspection.asked.clear()

    _post(api, "batch", _entry("GET", "Patient/p1"), _entry("DELETE", "Observation?code=x"))

    assert [(asked["method"], asked["path"], asked["interaction"]) for _, asked in writable.introspection.asked] == [
        ("POST", "/fhir", "transaction"),
        ("GET", "/fhir/Patient/p1", "read"),
        ("DELETE", "/fhir/Observation", "delete"),
    ]


BAD_ENTRIES: dict[str, Any] = {
    "no object": "x",
    "no request": {"resource": make_patient()},
    "another method": _entry("TRACE", "Patient/p1"),
    "no url": {"request": {"method": "GET"}},
    "another base": _entry("GET", "https://elsewhere.example/fhir/Patient/p1"),
    "a base that begins like ours": _entry("GET", f"{BASE}evil/Patient/p1"),
    "an absolute path": _entry("GET", "/Patient/p1"),
    "a Bundle in the Bundle": _entry("POST", "", {"resourceType": "Bundle", "type": "batch"}),
    "a Bundle at the base": _entry("POST", BASE, {"resourceType": "Bundle", "type": "batch"}),
    "a dot segment": _entry("GET", "Observation/../Patient/p1"),
    "an escape": _entry("GET", "Patient%2Fp1"),
    "two slashes": _entry("GET", "Patient//p1"),
    "a fragment": _entry("GET", "Patient/p1#x"),
    "a line break": _entry("GET", "Patient/p1", ifNoneMatch="x\r\nAuthorization: Bearer all"),
    "an export": _entry("GET", "$export"),
    "a patch that is no Binary": _entry("PATCH", "Patient/p1", {"resourceType": "Patient"}),
    "a patch that is no base64": _entry(
        "PATCH", "Patient/p1", {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "é"}
    ),
    "a condition that is no text": _entry("PUT", "Patient/p1", make_patient(), ifMatch=1),
    "a token in the url": _entry("GET", "Patient/p1?access_token=all"),
}


@ON_SQLITE
@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_an_entry_that_leads_elsewhere_is_refused(api: FlaskClient, kind: str, name: str) -> None:
    """Row B6 and threat H08."""
    response = _post(api, kind, BAD_ENTRIES[name])

    if kind == "batch":
        assert _statuses(response) == ["400"]
    else:
        assert _refused(response) == (400, "Bundle.entry[0]")


@ON_SQLITE
@pytest.mark.parametrize(
    "body",
    [{}, [], make_patient(), {"resourceType": "Bundle", "type": "collection"}]
    + [{"resourceType": "Bundle", "type": "batch", "entry": entries} for entries in ({}, "x")],
)
def test_only_a_batch_or_a_transaction_may_be_posted_to_the_base(api: FlaskClient, body: Any) -> None:
    assert send(api, "POST", "", body).status_code == 400


@ON_SQLITE
def test_an_empty_bundle_is_answered_by_one(api: FlaskClient) -> None:
    body = send(api, "POST", "", {"resourceType": "Bundle", "type": "batch"}).get_json()

    assert body == {"resourceType": "Bundle", "type": "batch-response"}


def test_the_number_of_entries_is_limited(sqlite_store: SqlStore, definitions: Definitions) -> None:
    """Threat H08."""
    introspection = FakeIntrospection({"all": make_answer(scope="system/*.cruds")})
    api = make_app(sqlite_store, definitions, introspection=introspection, fhir_max_bundle_entries=2).test_client()
    entries = [_entry("GET", "Patient/x")] * 3

    assert _post(api, "batch", *entries).status_code == 400
    assert _statuses(_post(api, "batch", *entries[:2])) == ["404", "404"]


# transaction


def test_references_within_a_transaction_are_resolved(api: FlaskClient) -> None:
    """http.html#trules: urn:uuid in references, addresses and narratives; the order of the entries is no matter."""
    observation = _new(subject={"reference": URN})
    observation["text"] = {"status": "generated", "div": f'<div xmlns="x"><a href="{URN}">p</a></div>'}
    observation["note"] = [{"text": URN}]
    response = _post(
        api,
        "transaction",
        _entry("POST", "Observation", observation, fullUrl=OTHER_URN),
        _entry("POST", "Patient", make_patient(), fullUrl=URN),
        Prefer="return=representation",
    )

    first, second = response.get_json()["entry"]
    patient = f"Patient/{second['resource']['id']}"
    assert _statuses(response) == ["201", "201"]
    assert first["resource"]["subject"] == {"reference": patient}
    assert f'href="{patient}"' in first["resource"]["text"]["div"]
    assert first["resource"]["note"] == [{"text": URN}]
    assert first["response"]["location"] == f"{BASE}/Observation/{first['resource']['id']}/_history/1"


def test_a_transaction_answers_without_bodies_unless_asked(api: FlaskClient) -> None:
    response = _post(api, "transaction", _entry("POST", "Patient", make_patient()))

    assert [sorted(entry) for entry in response.get_json()["entry"]] == [["response"]]


def test_a_transaction_is_done_in_the_order_of_the_specification(api: FlaskClient) -> None:
    """DELETE, POST, PUT and PATCH, GET; answered in the order of the entries."""
    send(api, "PUT", "Observation/old", make_observation("old"))
    patch = base64.b64encode(json.dumps([{"op": "add", "path": "/gender", "value": "other"}]).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch}

    response = _post(
        api,
        "transaction",
        _entry("GET", "Observation?code=4548-4"),
        _entry("GET", "Patient/p1"),
        _entry("PATCH", "Patient/p1", binary),
        _entry("PUT", "Observation/put", make_observation("put")),
        _entry("POST", "Observation", _new()),
        _entry("DELETE", "Observation/old"),
    )

    searched, read = (entry["resource"] for entry in response.get_json()["entry"][:2])
    assert _statuses(response) == ["200", "200", "200", "201", "201", "204"]
    assert len(searched["entry"]) == 2
    assert read["gender"] == "other"


BROKEN: dict[str, tuple[Any, int]] = {
    "an invalid resource": (_entry("POST", "Observation", {"resourceType": "Observation", "status": "final"}), 422),
    "a reference to nothing": (_entry("POST", "Observation", _new(subject={"reference": "Patient/nobody"})), 422),
    "a reference to another tenant": (
        _entry("POST", "Observation", _new(subject={"reference": "Patient/foreign"})), 422),
    "a reference to no entry": (_entry("POST", "Observation", _new(subject={"reference": OTHER_URN})), 422),
    "another version": (_entry("PUT", "Patient/p1", make_patient(), ifMatch='W/"9"'), 412),
    "a patch of nothing": (
        _entry("PATCH", "Patient/nobody", {
            "resourceType": "Binary", "contentType": "application/json-patch+json",
            "data": base64.b64encode(b"[]").decode()}), 404),
    "a read of nothing": (_entry("GET", "Patient/nobody"), 404),
    "an operation": (_entry("GET", "Patient/p1/$everything"), 400),
    "a reference by search to nothing": (
        _entry("POST", "Observation", _new(subject={"reference": "Patient?identifier=nobody"})), 412),
    "a reference by search to another tenant": (
        _entry("POST", "Observation", _new(subject={"reference": "Patient?_id=foreign"})), 412),
    "a reference by an unknown search": (
        _entry("POST", "Observation", _new(subject={"reference": "Patient?nonsense=1"})), 400),
    "an unknown type": (_entry("POST", "Nonsense", {"resourceType": "Nonsense"}), 404),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_transaction_with_one_broken_entry_leaves_nothing(api: FlaskClient, name: str) -> None:
    """Decision table, transaction: rolled back wholly, audit included; the answer says which entry."""
    entry, status = BROKEN[name]

    response = _post(
        api,
        "transaction",
        _entry("POST", "Observation", _new()),
        _entry("PUT", "Patient/p9", make_patient("p9")),
        entry,
    )

    assert response.status_code == status, response.get_json()
    assert _count(api) == 0
    assert send(api, "GET", "Patient/p1").headers["ETag"] == 'W/"1"'
    assert "entry" not in send(api, "GET", "AuditEvent", token="auditor").get_json()


def test_the_refusal_names_the_entry_and_the_place(api: FlaskClient) -> None:
    """Decision table: `expression: Bundle.entry[i]`."""
    good, bad = _entry("POST", "Observation", _new()), _entry("POST", "Observation", {"resourceType": "Observation"})

    invalid = _post(api, "transaction", good, bad)
    forbidden = _post(api, "transaction", good, _entry("DELETE", "Patient/p1"), token="create-read")

    assert _refused(invalid) == (422, "Bundle.entry[1].resource.status")
    assert _refused(forbidden) == (403, "Bundle.entry[1]")
    assert 'scope="system/Patient.d"' in forbidden.headers["WWW-Authenticate"]


def test_letters_are_checked_before_bodies(api: FlaskClient) -> None:
    """Decision table: all letters before anything runs."""
    response = _post(
        api,
        "transaction",
        _entry("POST", "Observation", {"resourceType": "Observation"}),
        _entry("DELETE", "Patient/p1"),
        token="create-read",
    )

    assert _refused(response) == (403, "Bundle.entry[1]")


def test_conditional_references_are_searched_with_the_callers_eyes(api: FlaskClient) -> None:
    """Threat H07, leak L10: the letter s on the type, and the constraint."""
    send(api, "PUT", "Patient/p1", make_patient(identifier=[{"system": "urn:x", "value": "1"}]))
    entry = _entry("POST", "Observation", _new(subject={"reference": "Patient?identifier=urn:x|1"}))

    resolved = _post(api, "transaction", entry, Prefer="return=representation")
    refused = _post(api, "transaction", entry, token="create-read")

    assert resolved.get_json()["entry"][0]["resource"]["subject"] == {"reference": "Patient/p1"}
    assert _refused(refused) == (403, "Bundle.entry[0]")
    assert send(api, "POST", "Observation", entry["resource"]).status_code == 422


def test_a_reference_by_search_must_match_one(api: FlaskClient) -> None:
    """http.html#trules: none or several are 412."""
    entry = _entry("POST", "Observation", _new(subject={"reference": "Patient?name=smith"}))
    one = _post(api, "transaction", entry)
    send(api, "PUT", "Patient/p2", make_patient("p2"))

    several = _post(api, "transaction", entry)

    assert (one.status_code, _refused(several)) == (200, (412, "Bundle.entry[0]"))


def test_a_conditional_create_is_what_its_full_url_stands_for(api: FlaskClient) -> None:
    identifier = [{"system": "urn:x", "value": "1"}]
    entries = (
        _entry("POST", "Patient", make_patient(identifier=identifier), fullUrl=URN, ifNoneExist="identifier=urn:x|1"),
        _entry("POST", "Observation", _new(subject={"reference": URN})),
    )

    first = _post(api, "transaction", *entries)
    second = _post(api, "transaction", *entries, Prefer="return=representation")

    assert (_statuses(first), _statuses(second)) == (["201", "201"], ["200", "201"])
    patient, observation = (entry["resource"] for entry in second.get_json()["entry"])
    assert observation["subject"] == {"reference": f"Patient/{patient['id']}"}
    assert _count(api, "Patient") == 2


@pytest.mark.parametrize(
    "entries",
    [
        (_entry("PUT", "Patient/a", make_patient("a")), _entry("DELETE", "Patient/a")),
        (_entry("PUT", "Patient/a", make_patient("a")), _entry("PUT", "Patient/a", make_patient("a"))),
        (
            _entry("POST", "Patient", make_patient(), fullUrl=URN),
            _entry("POST", "Patient", make_patient(), fullUrl=URN),
        ),
    ],
)
def test_entries_that_clash_are_refused(api: FlaskClient, entries: Any) -> None:
    assert _post(api, "transaction", *entries).status_code == 400
    assert _count(api, "Patient") == 1


def test_every_write_of_a_transaction_has_its_audit_event(api: FlaskClient) -> None:
    """Row X25."""
    _post(api, "transaction", _entry("POST", "Observation", _new()), _entry("DELETE", "Patient/p9"))

    events = send(api, "GET", "AuditEvent", token="auditor").get_json()["entry"]
    assert sorted(event["resource"]["action"] for event in events) == ["C", "D"]


def test_a_transaction_stays_in_its_tenant(api: FlaskClient) -> None:
    """Rows B5 and B6, threat H08."""
    response = _post(
        api,
        "transaction",
        _entry("PUT", "Observation/foreign", make_observation("foreign", status="amended")),
        _entry("DELETE", "Patient/foreign"),
    )

    assert _statuses(response) == ["201", "204"]
    assert send(api, "GET", "Observation/foreign", token="other").get_json()["status"] == "final"
    assert send(api, "GET", "Patient/foreign", token="other").status_code == 200
