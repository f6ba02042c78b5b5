"""Writing over HTTP, on each kind of database: create, update, patch, delete, their conditions and their answers."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import (
    BASE,
    FHIR_JSON,
    ON_SQLITE,
    FakeIntrospection,
    entry_ids,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    outcome,
    send,
)

TAG = "https://clinikapi.com/tenant"
PATCH = "application/json-patch+json"


def _new(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in make_observation(**members).items() if name != "id"}


def _created(api: FlaskClient, body: dict[str, Any] | None = None, token: str = "all") -> str:
    response = send(api, "POST", "Observation", body or _new(), token=token)
    assert response.status_code == 201, response.get_json()
    return str(response.headers["Location"].split("/")[-3])


# create


def test_a_created_resource_is_answered_as_stored(api: FlaskClient) -> None:
    """Rows B3, C6, C7, A20: generated id, the tenant's tag, Location and ETag."""
    response = send(api, "POST", "Observation", {**_new(), "id": "mine", "meta": {"tag": [{"code": "x"}]}})

    body = response.get_json()
    assert (response.status_code, response.content_type) == (201, FHIR_JSON)
    assert re.fullmatch(r"[0-9a-f-]{36}", body["id"])
    assert response.headers["Location"] == f"{BASE}/Observation/{body['id']}/_history/1"
    assert response.headers["ETag"] == 'W/"1"'
    assert body["meta"]["versionId"] == "1"
    assert body["meta"]["tag"] == [{"code": "x"}, {"system": TAG, "code": "mine"}]
    read = send(api, "GET", f"Observation/{body['id']}")
    assert (read.get_json(), read.headers["ETag"]) == (body, 'W/"1"')
    assert entry_ids(send(api, "GET", "Observation?code=4548-4").get_json()) == [body["id"]]


@ON_SQLITE
@pytest.mark.parametrize(
    "sent",
    [
        [{"system": TAG, "code": "other"}],
        [{"system": TAG, "code": "mine"}, {"system": TAG, "code": "other"}],
        [{"system": TAG}],
    ],
)
def test_tags_of_the_reserved_system_are_the_servers(api: FlaskClient, sent: list[dict[str, str]]) -> None:
    """Row B3 and threat H05."""
    body = send(api, "POST", "Observation", _new(meta={"tag": sent})).get_json()

    assert body["meta"]["tag"] == [{"system": TAG, "code": "mine"}]


def test_without_a_tenant_there_is_no_tag(api: FlaskClient) -> None:
    observation = {**_new(meta={"tag": [{"system": TAG, "code": "other"}]})}
    del observation["subject"]

    body = send(api, "POST", "Observation", observation, token="no-tenant").get_json()

    assert "tag" not in body["meta"]


def test_a_body_is_shown_as_far_as_the_letter_r_reaches(api: FlaskClient) -> None:
    """Threat H18: what a token may create is not all that it may read."""
    seen = send(api, "POST", "Observation", _new(status="final"), token="create-read-final")
    hidden = send(api, "POST", "Observation", _new(status="amended"), token="create-read-final")

    assert (seen.status_code, seen.get_json()["status"]) == (201, "final")
    assert (hidden.status_code, hidden.data) == (201, b"")


@ON_SQLITE
def test_a_contained_resource_keeps_no_reserved_tag(api: FlaskClient) -> None:
    """Threat H05."""
    inner = {
        "resourceType": "Organization",
        "id": "o",
        "name": "x",
        "meta": {"tag": [{"system": TAG, "code": "other"}]},
    }
    patient = make_patient(contained=[inner], managingOrganization={"reference": "#o"})

    body = send(api, "POST", "Patient", patient).get_json()

    assert body["contained"] == [{"resourceType": "Organization", "id": "o", "name": "x"}]


@ON_SQLITE
@pytest.mark.parametrize(
    "media_type", ["application/fhir+json", "application/json", "application/fhir+json; charset=utf-8"]
)
def test_both_json_types_are_taken(api: FlaskClient, media_type: str) -> None:
    """Row C3."""
    assert send(api, "POST", "Observation", _new(), Content_Type=media_type).status_code == 201


BAD_BODIES: dict[str, tuple[bytes, str, int]] = {
    "another media type": (b"{}", "text/plain", 415),
    "a form": (b"a=b", "application/x-www-form-urlencoded", 415),
    "xml": (b"<a/>", "application/fhir+xml", 415),
    "no JSON": (b"{", "application/json", 400),
    "not UTF-8": ('{"resourceType":"Observation"}'.encode("utf-16"), "application/json", 400),
    "a member twice": (b'{"resourceType":"Patient","resourceType":"Observation"}', "application/json", 400),
    "a list": (b"[]", "application/json", 400),
    "no resourceType": (b"{}", "application/json", 400),
    "another resourceType": (json.dumps(make_patient()).encode(), "application/json", 400),
    "endless nesting": (b"[" * 100_000, "application/json", 400),
    "an invalid resource": (b'{"resourceType":"Observation","status":"final"}', "application/json", 422),
}


@ON_SQLITE
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_nothing_stored(api: FlaskClient, name: str) -> None:
    """Rows C1, C3, C4, C5 and B6 (double type)."""
    data, media_type, status = BAD_BODIES[name]

    response = send(api, "POST", "Observation", data, Content_Type=media_type)

    assert (response.status_code, response.get_json()["resourceType"]) == (status, "OperationOutcome")
    assert "entry" not in send(api, "GET", "Observation").get_json()


@ON_SQLITE
def test_findings_have_paths_and_no_values(api: FlaskClient) -> None:
    """Row C1 and threat H17."""
    response = send(api, "POST", "Observation", {"resourceType": "Observation", "status": "Canary-4711"})

    issues = [(issue["code"], issue["expression"]) for issue in response.get_json()["issue"]]
    assert (response.status_code, issues) == (
        422,
        [("code-invalid", ["Observation.status"]), ("required", ["Observation.code"])],
    )
    assert b"Canary" not in response.data


@pytest.mark.parametrize("target", ["Patient/foreign", "Patient/nobody", f"{BASE}/Patient/nobody"])
def test_a_reference_to_nothing_is_refused_alike(api: FlaskClient, target: str) -> None:
    """Row C8; threats H11 and H13: missing and another tenant's are the same bytes."""
    missing = send(api, "POST", "Observation", _new(subject={"reference": "Patient/missing"}))

    response = send(api, "POST", "Observation", _new(subject={"reference": target}))

    assert (response.status_code, response.data) == (422, missing.data)
    assert outcome(response) == (422, "not-found", "Observation")
    assert send(api, "POST", "Observation", _new()).status_code == 201


def test_a_reference_is_resolved_with_the_callers_eyes(api: FlaskClient) -> None:
    """Non-interference: whether an unreadable resource exists is not told."""
    assert send(api, "POST", "Observation", _new(), token="create").status_code == 422
    assert send(api, "POST", "Observation", _new(), token="create-read").status_code == 201
    free = {name: value for name, value in _new().items() if name != "subject"}
    assert send(api, "POST", "Observation", free, token="create").status_code == 201


def test_the_answer_has_the_body_only_for_who_may_read_it(api: FlaskClient) -> None:
    free = {name: value for name, value in _new().items() if name != "subject"}

    blind = send(api, "POST", "Observation", free, token="create")
    minimal = send(api, "POST", "Observation", free, Prefer="return=minimal")
    told = send(api, "POST", "Observation", free, Prefer="return=OperationOutcome")

    assert (blind.status_code, blind.data, minimal.status_code, minimal.data) == (201, b"", 201, b"")
    assert (told.status_code, told.get_json()["resourceType"]) == (201, "OperationOutcome")
    assert all("Location" in answer.headers for answer in (blind, minimal, told))


def test_a_scope_with_a_parameter_narrows_what_is_created(api: FlaskClient) -> None:
    """Row X12; the new state must be within the scope."""
    refused = send(api, "POST", "Observation", _new(status="amended"), token="final")

    assert outcome(refused) == (403, "forbidden", "")
    assert send(api, "POST", "Observation", _new(status="final"), token="final").status_code == 201
    assert len(send(api, "GET", "Observation").get_json()["entry"]) == 1


@ON_SQLITE
@pytest.mark.parametrize("path", ["Observation?x=1", "Observation?status=final"])
def test_a_create_takes_no_parameters(api: FlaskClient, path: str) -> None:
    assert send(api, "POST", path, _new()).status_code == 400


# conditional create


def test_a_conditional_create_creates_once(api: FlaskClient) -> None:
    condition = "identifier=urn:x|1"
    body = _new(identifier=[{"system": "urn:x", "value": "1"}])

    first = send(api, "POST", "Observation", body, If_None_Exist=condition)
    second = send(api, "POST", "Observation", body, If_None_Exist=condition)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["Location"] == first.headers["Location"]
    assert len(send(api, "GET", "Observation").get_json()["entry"]) == 1


def test_a_condition_sees_what_the_caller_sees(api: FlaskClient) -> None:
    """Threat H07, leak L10: what is hidden is no match."""
    body = _new(identifier=[{"system": "urn:x", "value": "1"}])
    _created(api, {**body, "status": "amended"})
    foreign = {name: value for name, value in body.items() if name != "subject"}
    assert send(api, "POST", "Observation", foreign, token="other").status_code == 201

    narrow = send(api, "POST", "Observation", body, token="final", If_None_Exist="identifier=urn:x|1")

    assert narrow.status_code == 201


def test_a_condition_with_several_matches_is_412(api: FlaskClient) -> None:
    _created(api)
    _created(api)

    response = send(api, "POST", "Observation", _new(), If_None_Exist="code=4548-4")

    assert outcome(response) == (412, "conflict", "")


def test_a_condition_needs_the_letter_s(api: FlaskClient) -> None:
    response = send(api, "POST", "Observation", _new(), token="create-read", If_None_Exist="code=4548-4")

    assert outcome(response) == (403, "forbidden", "")
    assert 'scope="system/Observation.s"' in response.headers["WWW-Authenticate"]


@ON_SQLITE
@pytest.mark.parametrize("condition", ["", "nonsense=1", "date=soon", "_count=1", "é=1"])
def test_a_condition_that_is_not_understood_is_refused(api: FlaskClient, condition: str) -> None:
    """Leak L3: never passed through."""
    assert send(api, "POST", "Observation", _new(), If_None_Exist=condition).status_code == 400


# update


def test_an_update_makes_a_version(api: FlaskClient) -> None:
    resource_id = _created(api)

    response = send(api, "PUT", f"Observation/{resource_id}", make_observation(resource_id, status="amended"))

    body = response.get_json()
    assert (response.status_code, response.headers["ETag"], body["status"]) == (200, 'W/"2"', "amended")
    assert body["meta"]["tag"] == [{"system": TAG, "code": "mine"}]


def test_an_update_of_a_free_id_creates_it(api: FlaskClient) -> None:
    response = send(api, "PUT", "Observation/chosen", make_observation("chosen"))

    assert response.status_code == 201
    assert response.headers["Location"] == f"{BASE}/Observation/chosen/_history/1"


def test_an_update_of_another_tenants_id_creates_ones_own(api: FlaskClient) -> None:
    """Threat H06 and row B5: no oracle, and nothing of theirs is changed."""
    mine = send(api, "PUT", "Observation/foreign", make_observation("foreign", status="amended"))
    free = send(api, "PUT", "Observation/free", make_observation("free", status="amended"))

    assert (mine.status_code, free.status_code) == (201, 201)
    theirs = send(api, "GET", "Observation/foreign", token="other").get_json()
    assert (theirs["status"], theirs["meta"]["versionId"]) == ("final", "1")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_a_scope_hides_is_absent_for_changes(api: FlaskClient, method: str) -> None:
    """Threat H06: hidden, another tenant's and absent are one answer."""
    hidden, seen = _created(api, _new(status="amended")), _created(api)
    body = [{"op": "add", "path": "/issued", "value": "2024-05-11T12:00:00Z"}]

    def change(resource_id: str) -> Any:
        sent: object = make_observation(resource_id, issued="2024-05-11T12:00:00Z") if method == "PUT" else body
        media_type = "application/json" if method == "PUT" else PATCH
        return send(api, method, f"Observation/{resource_id}", sent, token="final", Content_Type=media_type)

    answers = [change(resource_id) for resource_id in (hidden, "foreign", "nobody")]

    assert {(answer.status_code, answer.data) for answer in answers} == {(404, answers[0].data)}
    assert change(seen).status_code == 200
    assert send(api, "GET", f"Observation/{hidden}").headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_must_stay_within_the_scope(api: FlaskClient, method: str) -> None:
    resource_id = _created(api)
    sent: object = [{"op": "replace", "path": "/status", "value": "amended"}]
    sent = make_observation(resource_id, status="amended") if method == "PUT" else sent
    media_type = "application/json" if method == "PUT" else PATCH

    response = send(api, method, f"Observation/{resource_id}", sent, token="final", Content_Type=media_type)

    assert outcome(response) == (403, "forbidden", "")
    assert send(api, "GET", f"Observation/{resource_id}").headers["ETag"] == 'W/"1"'


@ON_SQLITE
@pytest.mark.parametrize("body_id", [None, "another"])
def test_the_id_of_an_update_is_the_paths(api: FlaskClient, body_id: str | None) -> None:
    body = {**_new(), **({"id": body_id} if body_id else {})}

    assert outcome(send(api, "PUT", "Observation/o1", body)) == (400, "invalid", "")


@pytest.mark.parametrize(
    ("condition", "status"),
    [('W/"1"', 200), ('"1"', 200), ("*", 200), ('W/"2"', 412), ('W/"x"', 412), ("1", 400), ('W/"1", W/"2"', 400)],
)
def test_if_match_names_the_version(api: FlaskClient, condition: str, status: int) -> None:
    resource_id = _created(api)
    body = make_observation(resource_id, status="amended")

    assert send(api, "PUT", f"Observation/{resource_id}", body, If_Match=condition).status_code == status


def test_if_none_match_creates_only(api: FlaskClient) -> None:
    first = send(api, "PUT", "Observation/a", make_observation("a"), If_None_Match="*")
    second = send(api, "PUT", "Observation/a", make_observation("a"), If_None_Match="*")
    odd = send(api, "PUT", "Observation/a", make_observation("a"), If_None_Match='W/"1"')

    assert (first.status_code, second.status_code, odd.status_code) == (201, 412, 400)


def test_if_match_of_a_free_id_is_412(api: FlaskClient) -> None:
    assert outcome(send(api, "PUT", "Observation/a", make_observation("a"), If_Match='W/"1"')) == (412, "conflict", "")


# conditional update


def test_a_conditional_update_creates_then_updates(api: FlaskClient) -> None:
    body = _new(identifier=[{"system": "urn:x", "value": "1"}])
    path = "Observation?identifier=urn:x|1"

    first = send(api, "PUT", path, body)
    second = send(api, "PUT", path, {**body, "status": "amended"})
    wrong = send(api, "PUT", path, {**body, "id": "another"})

    assert (first.status_code, second.status_code, wrong.status_code) == (201, 200, 400)
    assert second.get_json()["id"] == first.get_json()["id"]
    assert second.headers["ETag"] == 'W/"2"'


def test_a_conditional_update_without_a_match_needs_c(api: FlaskClient) -> None:
    response = send(api, "PUT", "Observation?status=final", _new(), token="update")

    assert outcome(response) == (404, "not-found", "")


def test_a_conditional_update_may_name_what_it_creates_but_overwrites_nothing(api: FlaskClient) -> None:
    """Threat H07."""
    path = "Observation?identifier=urn:x|1"

    created = send(api, "PUT", path, make_observation("named"))
    again = send(api, "PUT", path, make_observation("named", status="amended"))
    narrow = send(api, "PUT", path, make_observation("free"), token="final")

    assert (created.status_code, again.status_code, narrow.status_code) == (201, 412, 404)
    assert created.get_json()["id"] == "named"


# patch


def test_a_patch_changes_what_it_says_and_keeps_digits(api: FlaskClient) -> None:
    """Row B14."""
    data = json.dumps(_new()).encode()[:-1] + b',"valueQuantity":{"value":1.50}}'
    resource_id = send(api, "POST", "Observation", data).get_json()["id"]
    patch = [
        {"op": "test", "path": "/status", "value": "final"},
        {"op": "replace", "path": "/status", "value": "amended"},
    ]

    response = send(api, "PATCH", f"Observation/{resource_id}", patch, Content_Type=PATCH)

    assert (response.status_code, response.get_json()["status"]) == (200, "amended")
    assert b'"value":1.50' in response.data


BAD_PATCHES: dict[str, tuple[Any, int]] = {
    "no list": ({}, 400),
    "no operation": ([{"op": "grow", "path": "/a"}], 400),
    "no value": ([{"op": "add", "path": "/a"}], 400),
    "no pointer": ([{"op": "remove", "path": "status"}], 400),
    "a path that is not there": ([{"op": "remove", "path": "/nothing"}], 422),
    "a test that fails": ([{"op": "test", "path": "/status", "value": "x"}], 422),
    "another id": ([{"op": "replace", "path": "/id", "value": "x"}], 400),
    "another type": ([{"op": "replace", "path": "/resourceType", "value": "Patient"}], 400),
    "no resource left": ([{"op": "replace", "path": "", "value": 1}], 400),
    "an invalid result": ([{"op": "replace", "path": "/status", "value": "x"}], 422),
    "too many operations": ([{"op": "remove", "path": "/a"}] * 101, 400),
    "a text that doubles": (
        [{"op": "add", "path": "/note", "value": [{"text": "x" * 10_000}]}]
        + [{"op": "copy", "from": "/note", "path": "/note/-"}] * 40,
        413,
    ),
}  # fmt: skip


@ON_SQLITE
@pytest.mark.parametrize("name", BAD_PATCHES)
def test_a_bad_patch_changes_nothing(api: FlaskClient, name: str) -> None:
    """Rows B14 and B6."""
    resource_id = _created(api)
    patch, status = BAD_PATCHES[name]

    response = send(api, "PATCH", f"Observation/{resource_id}", patch, Content_Type=PATCH)

    assert (response.status_code, response.get_json()["resourceType"]) == (status, "OperationOutcome")
    assert send(api, "GET", f"Observation/{resource_id}").headers["ETag"] == 'W/"1"'


TAG_PATCHES: dict[str, list[dict[str, Any]]] = {
    "removed": [{"op": "remove", "path": "/meta/tag"}],
    "replaced": [{"op": "replace", "path": "/meta/tag/0/code", "value": "other"}],
    "added": [{"op": "add", "path": "/meta/tag/-", "value": {"system": TAG, "code": "other"}}],
    "moved": [{"op": "move", "from": "/meta/tag", "path": "/meta/security"}],
    "meta removed": [{"op": "remove", "path": "/meta"}],
    "meta replaced": [{"op": "replace", "path": "/meta", "value": {"versionId": "99"}}],
}


@ON_SQLITE
@pytest.mark.parametrize("name", TAG_PATCHES)
def test_a_patch_cannot_touch_the_tenants_tag(api: FlaskClient, name: str) -> None:
    """Row B6 and threat H06."""
    resource_id = _created(api)

    send(api, "PATCH", f"Observation/{resource_id}", TAG_PATCHES[name], Content_Type=PATCH)

    meta = send(api, "GET", f"Observation/{resource_id}").get_json()["meta"]
    assert meta["tag"] == [{"system": TAG, "code": "mine"}]
    assert send(api, "GET", f"Observation/{resource_id}", token="other").status_code == 404


def test_a_patch_that_tests_needs_the_letter_r(api: FlaskClient) -> None:
    """A test is a question about a value."""
    resource_id = _created(api)
    patch = [{"op": "test", "path": "/status", "value": "final"}]

    asked = send(api, "PATCH", f"Observation/{resource_id}", patch, token="no-read", Content_Type=PATCH)
    told = [{"op": "replace", "path": "/status", "value": "amended"}]
    changed = send(api, "PATCH", f"Observation/{resource_id}", told, token="no-read", Content_Type=PATCH)

    assert outcome(asked) == (403, "forbidden", "")
    assert (changed.status_code, changed.data) == (200, b"")


def test_a_conditional_patch_needs_one_match(api: FlaskClient) -> None:
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    none = send(api, "PATCH", "Observation?code=4548-4", patch, Content_Type=PATCH)
    _created(api)
    one = send(api, "PATCH", "Observation?code=4548-4", patch, Content_Type=PATCH)
    _created(api)
    two = send(api, "PATCH", "Observation?code=4548-4", patch, Content_Type=PATCH)

    assert (none.status_code, one.status_code, two.status_code) == (404, 200, 412)


@ON_SQLITE
@pytest.mark.parametrize("media_type", ["application/json", "application/fhir+json", "application/xml-patch+xml"])
def test_other_patches_are_415(api: FlaskClient, media_type: str) -> None:
    """Row B14."""
    assert send(api, "PATCH", "Observation/a", [], Content_Type=media_type).status_code == 415


# delete


def test_a_deleted_resource_is_gone(api: FlaskClient) -> None:
    """Row B14."""
    resource_id = _created(api)

    deleted = send(api, "DELETE", f"Observation/{resource_id}")
    read = send(api, "GET", f"Observation/{resource_id}")

    assert (deleted.status_code, deleted.data) == (204, b"")
    assert outcome(read) == (410, "deleted", "")
    assert read.headers["ETag"] == 'W/"2"'
    assert "entry" not in send(api, "GET", "Observation").get_json()


def test_deleting_the_hidden_is_as_deleting_the_absent(api: FlaskClient) -> None:
    """Row B5, threats H01 and H07."""
    hidden = _created(api, _new(status="amended"))

    answers = [
        send(api, "DELETE", f"Observation/{resource_id}", token="final") for resource_id in (hidden, "foreign", "x")
    ]
    by_search = send(api, "DELETE", "Observation?status=amended", token="final")

    assert {(answer.status_code, answer.data) for answer in (*answers, by_search)} == {(204, b"")}
    assert send(api, "GET", f"Observation/{hidden}").status_code == 200
    assert send(api, "GET", "Observation/foreign", token="other").status_code == 200


def test_a_deleted_resource_that_was_hidden_is_not_there(api: FlaskClient) -> None:
    """410 is for who could read it before."""
    hidden = _created(api, _new(status="amended"))
    send(api, "DELETE", f"Observation/{hidden}")

    assert send(api, "GET", f"Observation/{hidden}", token="final").status_code == 404
    assert send(api, "GET", f"Observation/{hidden}", token="other").status_code == 404


def test_a_conditional_delete_deletes_one(api: FlaskClient) -> None:
    _created(api)
    one = send(api, "DELETE", "Observation?code=4548-4")
    _created(api)
    _created(api)
    two = send(api, "DELETE", "Observation?code=4548-4")
    every = send(api, "DELETE", "Observation")

    assert (one.status_code, two.status_code, every.status_code) == (204, 412, 400)
    assert len(send(api, "GET", "Observation").get_json()["entry"]) == 2


def test_a_conditional_delete_matches_what_may_be_deleted(api: FlaskClient) -> None:
    """Decision table, conditional delete: matches in the reach of s and of d; threat H07."""
    kept, deleted = _created(api, _new(status="amended")), _created(api)

    answer = send(api, "DELETE", "Observation?code=4548-4", token="deletes-final")

    assert answer.status_code == 204
    assert send(api, "GET", f"Observation/{deleted}").status_code == 410
    assert send(api, "GET", f"Observation/{kept}").status_code == 200


def test_a_delete_may_name_the_version(api: FlaskClient) -> None:
    resource_id = _created(api)

    wrong = send(api, "DELETE", f"Observation/{resource_id}", If_Match='W/"9"')
    right = send(api, "DELETE", f"Observation/{resource_id}", If_Match='W/"1"')

    assert (wrong.status_code, right.status_code) == (412, 204)


# references that were there before


def test_a_target_that_was_deleted_since_does_not_block_changes(api: FlaskClient) -> None:
    resource_id = _created(api)
    assert send(api, "DELETE", "Patient/p1").status_code == 204

    kept = send(api, "PUT", f"Observation/{resource_id}", make_observation(resource_id, status="amended"))
    new = send(api, "POST", "Observation", _new())

    assert (kept.status_code, new.status_code) == (200, 422)


# audit


def test_each_write_leaves_its_audit_event(api: FlaskClient) -> None:
    """Row X25: IHE BALP, in the transaction of the write, for who is named as auditor alone."""
    resource_id = _created(api)
    send(api, "PUT", f"Observation/{resource_id}", make_observation(resource_id, status="amended"))
    deleted = send(api, "DELETE", f"Observation/{resource_id}")
    send(api, "POST", "Observation", {"resourceType": "Observation"})

    events = [e["resource"] for e in send(api, "GET", "AuditEvent", token="auditor").get_json()["entry"]]
    assert [(e["action"], e["subtype"][0]["code"], e["entity"][0]["what"]["reference"]) for e in events] == [
        ("C", "create", f"Observation/{resource_id}/_history/1"),
        ("U", "update", f"Observation/{resource_id}/_history/2"),
        ("D", "delete", f"Observation/{resource_id}/_history/3"),
    ]
    assert events[0]["agent"][2]["policy"] == ["urn:ietf:params:oauth:jti:token-1"]
    assert events[2]["entity"][1]["what"]["identifier"]["value"] == deleted.headers["X-Request-Id"]
    assert send(api, "GET", "AuditEvent").status_code == 403
    assert send(api, "GET", f"AuditEvent/{events[0]['id']}/_history", token="auditor").status_code == 200


@ON_SQLITE
def test_audit_events_are_valid(api: FlaskClient) -> None:
    """IHE BALP: the server's own resources pass its own validation."""
    resource_id = _created(api)
    send(api, "DELETE", f"Observation/{resource_id}")
    events = [e["resource"] for e in send(api, "GET", "AuditEvent", token="auditor").get_json()["entry"]]

    parameters = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": event} for event in events]}
    checked = send(api, "POST", "Bundle/$validate", parameters).get_json()

    assert [issue["severity"] for issue in checked["issue"]] == ["information"]


@ON_SQLITE
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nobody_edits_audit_events(api: FlaskClient, method: str) -> None:
    path = "AuditEvent" if method == "POST" else "AuditEvent/a"

    assert send(api, method, path, {}, token="all").status_code == 403


# limits


def test_a_body_above_the_limit_is_413(store: SqlStore, definitions: Definitions) -> None:
    introspection = FakeIntrospection({"all": make_answer(scope="system/*.cruds")})
    api = make_app(store, definitions, introspection=introspection, fhir_max_body_bytes=2_000).test_client()

    fits = send(api, "POST", "Patient", make_patient(name=[{"family": "x" * 1_000}]))
    large = send(api, "POST", "Patient", make_patient(name=[{"family": "x" * 3_000}]))

    assert (fits.status_code, large.status_code) == (201, 413)
