"""Searches over HTTP that touch more than one type: which scopes they need, and what the Bundle looks like."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import (
    FakeIntrospection,
    all_pages,
    bearer,
    entry_ids,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    outcome,
)

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}
SCOPES = {
    "all": "system/*.rs",
    "observations": "system/Observation.rs",
    "both": "system/Observation.rs system/Patient.rs",
    "reads-patients": "system/Observation.rs system/Patient.r",
    "women": "system/Observation.rs system/Patient.rs?gender=female",
    "loose": "system/Encounter.rs system/Observation.rs system/Patient.rs system/Group.rs",
    "finds-patients": "system/Observation.r system/Patient.s",
}
WORLD = [
    make_patient("w", gender="female", text={"status": "generated", "div": "<div/>"}, photo=[{"title": "x"}]),
    make_patient("m", gender="male"),
    make_observation("ow", subject={"reference": "Patient/w"}, note=[{"text": "n"}]),
    make_observation("om", subject={"reference": "Patient/m"}),
    make_observation("ox", subject={"reference": "Group/g"}),
]


@pytest.fixture
def client(sqlite_store: SqlStore, definitions: Definitions) -> FlaskClient:
    """A client of the app over two Patients and three Observations."""
    sqlite_store.put(Constraint.system(""), WORLD, now=1_700_000_000_000_000)
    tokens = {name: make_answer(scope=scope) for name, scope in SCOPES.items()}
    return make_app(sqlite_store, definitions, introspection=FakeIntrospection(tokens)).test_client()


def _modes(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["search"]["mode"], entry["resource"].get("id", "")) for entry in bundle.get("entry", [])]


@pytest.mark.parametrize(
    ("token", "path", "scope"),
    [
        ("observations", "Observation?patient.name=smi", "system/Patient.s"),
        ("reads-patients", "Observation?patient.name=smi", "system/Patient.s"),
        ("both", "Observation?patient.organization.name=x", "system/Organization.s"),
        ("both", "Observation?subject.name=x", "system/Location.s"),
        ("finds-patients", "Patient?_has:Observation:patient:code=4548-4", "system/Observation.s"),
        ("both", "Patient?_has:Observation:patient:_has:Provenance:target:agent=x", "system/Provenance.s"),
        ("observations", "Observation?_include=Observation:patient", "system/Patient.r"),
        ("observations", "Observation?_include=Observation:subject:Patient", "system/Patient.r"),
        ("finds-patients", "Patient?_revinclude=Observation:patient", "system/Observation.s"),
        ("both", "Observation?_include:iterate=Patient:organization", "system/Organization.r"),
        ("both", "?_type=Patient,Encounter", "system/Encounter.s"),
        ("both", "?_type=Patient,Observation&_has:Provenance:target:agent=x", "system/Provenance.s"),
        ("loose", "?_type=Encounter,Observation&subject.identifier=x", "system/Device.s"),
    ],
)
def test_a_type_that_is_looked_at_needs_its_own_scope(client: FlaskClient, token: str, path: str, scope: str) -> None:
    """Threats H03, H04 and H18; leaks L1, L13, L17: refused by the request alone, naming the type."""
    response = client.get(f"/fhir/{path}".replace("/?", "?"), headers=bearer(token))

    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="fhir", error="insufficient_scope", scope="{scope}"'


@pytest.mark.parametrize(
    ("token", "path", "modes"),
    [
        ("both", "Observation?patient.name=smi", [("match", "ow"), ("match", "om")]),
        ("women", "Observation?patient.name=smi", [("match", "ow")]),
        ("women", "Patient?_has:Observation:patient:code=4548-4", [("match", "w")]),
        (
            "women",
            "Observation?_include=Observation:patient",
            [("match", "ow"), ("match", "om"), ("match", "ox"), ("include", "w")],
        ),
        ("reads-patients", "Observation?_id=ow&_include=Observation:patient", [("match", "ow"), ("include", "w")]),
        (
            "both",
            "Observation?_id=ow&_include=*",
            [("match", "ow"), ("include", "w"), ("outcome", "")],
        ),
        (
            "both",
            "Observation?_id=ow&_include=Observation:subject",
            [("match", "ow"), ("include", "w"), ("outcome", "")],
        ),
        ("all", "Observation?_id=ow&_include=Observation:subject", [("match", "ow"), ("include", "w")]),
        ("both", "Patient?_id=w&_revinclude=Observation:patient", [("match", "w"), ("include", "ow")]),
        ("women", "?_type=Patient", [("match", "w")]),
        ("women", "?_type=Patient,Observation&_id=w,m,ow", [("match", "w"), ("match", "ow")]),
        ("finds-patients", "", [("match", "w"), ("match", "m")]),
        ("finds-patients", "?_id=m,ow", [("match", "m")]),
    ],
)  # fmt: skip
def test_what_is_looked_at_is_narrowed_by_its_own_scope(
    client: FlaskClient, token: str, path: str, modes: list[tuple[str, str]]
) -> None:
    """The positive control, and leaks L1, L2 and L5: what the scope's criteria exclude is silently left out."""
    response = client.get(f"/fhir/{path}".replace("/?", "?").rstrip("/"), headers=bearer(token))

    assert (response.status_code, _modes(response.get_json())) == (200, modes)


def test_a_token_that_may_search_nothing_may_not_search_the_system(
    sqlite_store: SqlStore, definitions: Definitions
) -> None:
    introspection = FakeIntrospection({"reader": make_answer(scope="system/Patient.r")})
    client = make_app(sqlite_store, definitions, introspection=introspection).test_client()

    response = client.get("/fhir", headers=bearer("reader"))

    assert response.status_code == 403
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir", error="insufficient_scope", scope="system/*.s"'


def test_the_warning_of_left_out_types_says_nothing_of_the_data(client: FlaskClient) -> None:
    bundles = [
        client.get(f"/fhir/Observation?_include=*&_id={one}", headers=bearer("both")).get_json()
        for one in ("ow", "nobody")
    ]

    warnings = [bundle["entry"][-1] for bundle in bundles]
    assert warnings[0] == warnings[1]
    assert warnings[0] == {
        "resource": {
            "resourceType": "OperationOutcome",
            "issue": [
                {
                    "severity": "warning",
                    "code": "incomplete",
                    "diagnostics": "Resources of types that the access token does not open are not included.",
                }
            ],
        },
        "search": {"mode": "outcome"},
    }


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("_summary=true", {"resourceType", "id", "meta", "name", "gender"}),
        ("_summary=text", {"resourceType", "id", "meta", "text"}),
        ("_summary=data", {"resourceType", "id", "meta", "name", "gender", "photo"}),
        ("_summary=false", {"resourceType", "id", "meta", "name", "gender", "photo", "text"}),
        ("_elements=gender,photo", {"resourceType", "id", "meta", "gender", "photo"}),
    ],
)
def test_a_summary_has_its_elements_and_is_marked(client: FlaskClient, query: str, members: set[str]) -> None:
    (entry,) = client.get(f"/fhir/Patient?_id=w&{query}", headers=bearer("all")).get_json()["entry"]

    assert set(entry["resource"]) == members
    assert entry["resource"]["meta"].get("tag", []) == ([] if query == "_summary=false" else [SUBSETTED])


def test_mandatory_elements_stay_and_parts_of_a_summary_are_cut(client: FlaskClient) -> None:
    answers = [
        client.get(f"/fhir/Observation?_id=ow&{query}", headers=bearer("all")).get_json()["entry"][0]["resource"]
        for query in ("_elements=subject", "_summary=true")
    ]

    assert [sorted(answer) for answer in answers] == [
        ["code", "id", "meta", "resourceType", "status", "subject"],
        ["code", "effectiveDateTime", "id", "meta", "resourceType", "status", "subject"],
    ]


def test_a_count_has_a_total_and_no_entries(client: FlaskClient) -> None:
    """Row B4: what the scope excludes is not counted."""
    bundles = [
        client.get(f"/fhir/Patient?{query}", headers=bearer(token)).get_json()
        for query, token in (("_summary=count", "both"), ("_summary=count", "women"), ("_count=0", "women"))
    ]

    assert [(bundle["total"], "entry" in bundle) for bundle in bundles] == [(2, False), (1, False), (1, False)]


def test_a_form_searches_as_a_query_does_and_both_are_merged(client: FlaskClient) -> None:
    """http://hl7.org/fhir/R4/http.html#search; threat H02: nothing in the form replaces what the query says."""
    url = "/fhir/Observation/_search?patient=w"

    answers = [
        client.post(url, data=data, headers=bearer("both"))
        for data in ({}, {"status": "final"}, {"status": "amended"}, {"patient": "m"})
    ]

    assert [entry_ids(answer.get_json()) for answer in answers] == [["ow"], ["ow"], [], []]
    assert answers[1].get_json()["link"] == [
        {"relation": "self", "url": "https://fhir.example/fhir/Observation?patient=w&status=final"}
    ]


def test_the_policies_see_the_parameters_of_a_form(sqlite_store: SqlStore, definitions: Definitions) -> None:
    introspection = FakeIntrospection()
    client = make_app(sqlite_store, definitions, introspection=introspection).test_client()

    client.post("/fhir/Patient/_search?gender=male", data={"name": "x"}, headers=bearer())

    ((_, description),) = introspection.asked
    assert (description["interaction"], description["parameters"]) == (
        "search-type",
        [["gender", "male"], ["name", "x"]],
    )


@pytest.mark.parametrize("path", ["Observation/_search", "_search"])
def test_a_system_search_by_form_pages_by_links(client: FlaskClient, path: str) -> None:
    form = {"_count": "2", "_sort": "-_id", **({"_type": "Patient,Observation"} if path == "_search" else {})}
    first = client.post(f"/fhir/{path}", data=form, headers=bearer("all")).get_json()
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")

    pages = all_pages(client, following.removeprefix("https://fhir.example"), bearer("all"))

    found = [*entry_ids(first), *(one for page in pages for one in entry_ids(page))]
    assert found == (["w", "ox", "ow", "om", "m"] if path == "_search" else ["ox", "ow", "om"])


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b'{"resourceType":"Parameters"}', "application/fhir+json", 415),
        (b"gender=female", "text/plain", 415),
        (b"gender=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"gender=x" for _ in range(101)), "application/x-www-form-urlencoded", 400),
        (b"gender=female", "application/x-www-form-urlencoded", 200),
        (b"", "", 200),
    ],
)
def test_a_form_that_is_none_never_widens_the_search(
    client: FlaskClient, body: bytes, media_type: str, status: int
) -> None:
    response = client.post("/fhir/Patient/_search", data=body, headers={**bearer("all"), "Content-Type": media_type})

    assert response.status_code == status


@pytest.mark.parametrize(
    "query",
    [
        "code:text=x", "patient.nonsense=x", "_has:Observation:patient:nonsense=x", "_filter=x", "_list=x", "_text=x",
        "_content=x", "_query=x", "_sort=nonsense", "_include=nonsense", "_contained=true", "_has=x",
    ],
)  # fmt: skip
def test_a_lenient_client_is_refused_what_would_widen_the_answer(client: FlaskClient, query: str) -> None:
    """A filter that is left out answers more than was asked for."""
    response = client.get(f"/fhir/Observation?{query}", headers={**bearer("all"), "Prefer": "handling=lenient"})

    assert response.status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "_include=Observation", "_include=Observation:code", "_include=Observation:subject:Slot", "_include=Nope:x",
        "_include=Observation:subject:Nope", "_include=Patient:organization", "_revinclude=*", "_total=some",
        "_summary=all", "_elements=a b", "_elements=a&_summary=true", "_elements=", "_sort=-", "_sort=date,-date",
        "_sort=date,status,code,_id", "_sort=", "&".join(["_include=*"] * 11), "_count=1&_count=1",
    ],
)  # fmt: skip
def test_a_malformed_control_is_400(client: FlaskClient, query: str) -> None:
    response = client.get(f"/fhir/Observation?{query}", headers=bearer("all"))

    assert (response.status_code, outcome(response)[1]) == (400, "invalid")


def test_a_sorted_cursor_is_no_good_for_another_order(client: FlaskClient) -> None:
    """Threat H09."""
    first = client.get("/fhir/Observation?_count=1&_sort=date", headers=bearer("all")).get_json()
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    cursor = following.partition("_cursor=")[2]

    answers = [
        client.get(f"/fhir/Observation?{query}&_cursor={cursor}", headers=bearer("all")).status_code
        for query in ("_count=1&_sort=date", "_count=1&_sort=-date", "_count=1", "_count=2&_sort=date")
    ]

    assert answers == [200, 400, 400, 400]


def test_a_decimal_keeps_its_zeros_in_a_summary(sqlite_store: SqlStore, definitions: Definitions) -> None:
    value = exact_json.loads("6.10")
    sqlite_store.put(Constraint.system(""), [make_observation(valueQuantity={"value": value})], now=0)
    client = make_app(sqlite_store, definitions).test_client()

    answer = client.get("/fhir/Observation?_summary=true", headers=bearer()).data

    assert b'"valueQuantity":{"value":6.10}' in answer
