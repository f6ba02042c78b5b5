"""Patient/$summary over HTTP: a valid document of what the token may see, and what it says where there is nothing."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.fhir.routes.summary import LARGEST_SECTION
from tests.fhir.builders import BASE, ON_SQLITE, Writable, make_answer, make_observation, make_patient, outcome, send

PATIENT = {"patient": {"reference": "Patient/p1"}}
SUBJECT = {"subject": {"reference": "Patient/p1"}}
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
REQUEST = {"resourceType": "MedicationRequest", "intent": "order", **SUBJECT}
CHART: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "org", "name": "x"},
    {"resourceType": "Practitioner", "id": "dr"},
    {"resourceType": "Medication", "id": "m", "code": {"text": "Aspirin"}},
    make_patient(managingOrganization={"reference": "Organization/org"}, birthDate="1950-01-01"),
    make_patient("p2"),
    {"resourceType": "Condition", "id": "active", "code": {"text": "A < B & C"}, **SUBJECT},
    {
        "resourceType": "Condition",
        "id": "past",
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "resolved"}]},
    }
    | SUBJECT,
    {"resourceType": "Condition", "id": "of-p2", "subject": {"reference": "Patient/p2"}},
    {"resourceType": "AllergyIntolerance", "id": "allergy", "code": {"coding": [{"code": "c"}]}, **PATIENT},
    {"id": "given", "status": "active", "medicationReference": {"reference": "Medication/m", "display": "Aspirin"}}
    | REQUEST
    | {"requester": {"reference": "Practitioner/dr"}},
    {"id": "stopped", "status": "stopped", "medicationReference": {"reference": "Medication/m"}} | REQUEST,
    {"resourceType": "Immunization", "id": "shot", "status": "completed", "vaccineCode": {"text": "v"}}
    | {"occurrenceString": "x", **PATIENT},
    make_observation("lab"),
    make_observation("wrong", status="entered-in-error"),
    make_observation("pulse", category="vital-signs"),
    {"resourceType": "Procedure", "id": "done", "status": "completed", **SUBJECT},
]
SECTIONS = [
    ("Active Problems", ["Condition/active"]),
    ("Allergies and Intolerances", ["AllergyIntolerance/allergy"]),
    ("Medication Summary", ["MedicationRequest/given"]),
    ("Immunizations", ["Immunization/shot"]),
    ("Results", ["Observation/lab"]),
    ("History of Procedures", ["Procedure/done"]),
    ("Past History of Illnesses", ["Condition/past"]),
]


@pytest.fixture
def chart(api: FlaskClient) -> FlaskClient:
    """A patient with something for every section."""
    for resource in CHART:
        answer = send(api, "PUT", f"{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code in (200, 201), answer.get_json()
    return api


def _sections(bundle: dict[str, Any]) -> list[tuple[str, list[str]]]:
    composition = bundle["entry"][0]["resource"]
    return [
        (one["title"], [entry["reference"].removeprefix(f"{BASE}/") for entry in one.get("entry", [])])
        for one in composition["section"]
    ]


def _names(bundle: dict[str, Any]) -> list[str]:
    return [entry["fullUrl"].removeprefix(f"{BASE}/") for entry in bundle["entry"] if entry["fullUrl"].startswith(BASE)]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", None), ("POST", {"resourceType": "Parameters"})])
def test_a_summary_has_what_the_patient_has_by_section(chart: FlaskClient, method: str, body: Any) -> None:
    """Decision table, $summary: the Composition first, then the patient, what is listed, and what that refers to."""
    answer = send(chart, method, "Patient/p1/$summary", body)

    bundle = answer.get_json()
    assert (answer.status_code, bundle["type"], _sections(bundle)) == (200, "document", SECTIONS)
    listed = [name for _, names in SECTIONS for name in names]
    beside = ["Medication/m", "Organization/org", "Practitioner/dr"]
    assert _names(bundle) == ["Patient/p1", *listed, *beside]
    assert [entry["resource"]["resourceType"] for entry in (bundle["entry"][0], bundle["entry"][-1])] == [
        "Composition",
        "Device",
    ]


def test_a_summary_is_a_valid_document_in_itself(chart: FlaskClient) -> None:
    """Every reference of the Composition leads to an entry; what a resource says is text, never markup."""
    bundle = send(chart, "GET", "Patient/p1/$summary").get_json()
    composition = bundle["entry"][0]["resource"]

    checked = send(chart, "POST", "Bundle/$validate", bundle).get_json()
    assert [issue["severity"] for issue in checked["issue"]] == ["information"]
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    listed = [entry["reference"] for one in composition["section"] for entry in one["entry"]]
    assert {composition["subject"]["reference"], composition["author"][0]["reference"], *listed} <= urls
    assert "<li>A &lt; B &amp; C</li>" in composition["section"][0]["text"]["div"]
    assert "<li>Aspirin</li>" in composition["section"][2]["text"]["div"]


def test_a_required_section_says_that_nothing_is_available(chart: FlaskClient) -> None:
    """The server does not say that a patient has no allergies; a token's own limits are said as such."""
    sections = send(chart, "GET", "Patient/p2/$summary").get_json()["entry"][0]["resource"]["section"]
    limited = send(chart, "GET", "Patient/p1/$summary", token="final").get_json()["entry"][0]["resource"]["section"]

    reasons = [
        [(one["title"], one.get("emptyReason", {}).get("coding", [{}])[0].get("code")) for one in found]
        for found in (sections, limited)
    ]
    assert reasons == [
        [
            ("Active Problems", None),
            ("Allergies and Intolerances", "unavailable"),
            ("Medication Summary", "unavailable"),
        ],
        [(name, "withheld") for name in ("Active Problems", "Allergies and Intolerances", "Medication Summary")]
        + [("Results", None)],
    ]


def test_what_a_scope_hides_is_absent_from_a_summary(chart: FlaskClient, writable: Writable) -> None:
    """Threats H01 and H10: outside the criteria, without s, of another tenant; and what is referred to needs r."""
    scope = "system/Patient.r system/Observation.rs?category=vital-signs system/Condition.r system/*.s"
    writable.introspection.answers["narrow"] = make_answer(tenant="mine", scope=scope)
    before = send(chart, "GET", "Patient/p1/$summary", token="narrow").get_json()
    absent = send(chart, "GET", "Patient/nobody/$summary")
    foreign = send(chart, "GET", "Patient/foreign/$summary")

    assert _sections(before) == [
        ("Active Problems", ["Condition/active"]),
        ("Allergies and Intolerances", []),
        ("Medication Summary", []),
        ("Past History of Illnesses", ["Condition/past"]),
    ]
    assert _names(before) == ["Patient/p1", "Condition/active", "Condition/past"]
    assert outcome(absent) == (404, "not-found", "")
    assert (foreign.status_code, foreign.data) == (404, absent.data)
    assert send(chart, "GET", "Patient/p1/$summary", token="create").status_code == 403


def test_a_deleted_patient_has_no_summary(chart: FlaskClient) -> None:
    send(chart, "DELETE", "Patient/p2")

    assert outcome(send(chart, "GET", "Patient/p2/$summary")) == (410, "deleted", "")


@ON_SQLITE
def test_a_long_section_has_what_was_changed_last_and_says_so(chart: FlaskClient) -> None:
    entries = [
        {
            "resource": {"resourceType": "Condition", "code": {"text": f"number {number}"}, **SUBJECT},
            "request": {"method": "POST", "url": "Condition"},
        }
        for number in range(LARGEST_SECTION)
    ]
    send(chart, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    bundle = send(chart, "GET", "Patient/p1/$summary").get_json()

    (_, names), *_ = _sections(bundle)
    text = bundle["entry"][0]["resource"]["section"][0]["text"]["div"]
    assert (len(names), "Condition/active" in names) == (LARGEST_SECTION, False)
    assert "Only those that were changed last are listed." in text


@ON_SQLITE
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("profile=http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips", 200),
        ("profile=http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips|1.1.0&_format=json", 200),
        ("profile=http://example.org/other", 400),
        ("graph=x", 400),
        ("_count=1", 400),
    ],
)
def test_a_summary_of_another_kind_is_refused(chart: FlaskClient, query: str, status: int) -> None:
    assert send(chart, "GET", f"Patient/p1/$summary?{query}").status_code == status


@ON_SQLITE
@pytest.mark.parametrize("path", ["Patient/$summary", "Observation/lab/$summary"])
def test_a_summary_is_of_one_patient(chart: FlaskClient, path: str) -> None:
    assert outcome(send(chart, "GET", path)) == (404, "not-supported", "")
