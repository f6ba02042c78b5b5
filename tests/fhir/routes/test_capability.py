"""The CapabilityStatement."""

import pytest
from flask.testing import FlaskClient

from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.routes.capability import capability_statement, token_endpoint_of
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.sql_store import SqlStore
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator
from tests.fhir.builders import BASE, TOKEN_ENDPOINT, bearer, make_app, send


@pytest.mark.parametrize(
    ("base", "paths"),
    [
        (
            "https://fhir.example/v1/fhir",
            {"/v1/fhir/metadata": 200, "/v1/metadata": 200, "/v1/%6detadata": 400, "/metadata": 400},
        ),
        ("https://fhir.example/fhir", {"/fhir/metadata": 200, "/metadata": 400}),
        ("https://fhir.example", {"/metadata": 200}),
    ],
)
def test_the_statement_is_beside_a_base_below_a_version_too(
    sqlite_store: SqlStore, definitions: Definitions, base: str, paths: dict[str, int]
) -> None:
    """Row B13: `GET /v1/metadata` where the base is `/v1/fhir`, and both say the same."""
    client = make_app(sqlite_store, definitions, fhir_base_url=base).test_client()

    answers = {path: client.get(path) for path in paths}

    assert {path: answer.status_code for path, answer in answers.items()} == paths
    assert len({answer.data for answer in answers.values() if answer.status_code == 200}) == 1


def test_the_statement_needs_no_token_and_names_the_token_endpoint(
    sqlite_store: SqlStore, definitions: Definitions
) -> None:
    """Row B13, and what fhirclient and bulk-data-client read."""
    response = make_app(sqlite_store, definitions).test_client().get("/fhir/metadata")

    statement = response.get_json()
    assert (response.status_code, response.content_type) == (200, "application/fhir+json; charset=utf-8")
    assert statement["rest"][0]["security"] == {
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ]
            }
        ],
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": "token", "valueUri": TOKEN_ENDPOINT}],
            }
        ],
    }


def test_the_statement_has_the_required_elements(definitions: Definitions) -> None:
    statement = capability_statement(definitions, base_url=BASE, token_endpoint=None)

    assert {name: value for name, value in statement.items() if name != "rest"} == {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-21",
        "kind": "instance",
        "software": {"name": "authserver"},
        "implementation": {"description": "FHIR layer of authserver", "url": BASE},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "patchFormat": ["application/json-patch+json"],
    }
    (rest,) = statement["rest"]
    assert (rest["mode"], len(rest["resource"])) == ("server", 146)
    assert "extension" not in rest["security"]


EXAMPLES = {
    "token": "a",
    "reference": "a",
    "string": "a",
    "date": "2020",
    "uri": "urn:a",
    "quantity": "1",
    "number": "1",
}


def _example(definitions: Definitions, resource_type: str, code: str) -> str:
    parameter = definitions.parameter(resource_type, code)
    assert parameter is not None
    return "$".join(EXAMPLES[part.kind] for part in parameter.components) or EXAMPLES[parameter.kind]


def test_everything_that_is_listed_works(sqlite_store: SqlStore, definitions: Definitions) -> None:
    """Row B13: the statement is made from the tables that the parser and the store use."""
    statement = capability_statement(definitions, base_url=BASE, token_endpoint=None)
    client = make_app(sqlite_store, definitions).test_client()
    by_type = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}

    for resource_type in ("Patient", "Observation", "Encounter", "RiskAssessment", "ValueSet", "Bundle"):
        for parameter in by_type[resource_type]["searchParam"]:
            query = f"{parameter['name']}={_example(definitions, resource_type, parameter['name'])}"
            response = client.get(f"/fhir/{resource_type}?{query}", headers=bearer("good"))
            expected = 200 if resource_type != "AuditEvent" else 403
            assert response.status_code == expected, query


def test_every_listed_parameter_parses(definitions: Definitions) -> None:
    statement = capability_statement(definitions, base_url=BASE, token_endpoint=None)
    parser = SearchParser(definitions, base_url=BASE)

    for resource in statement["rest"][0]["resource"]:
        for parameter in resource["searchParam"]:
            example = _example(definitions, resource["type"], parameter["name"])
            assert parser.criterion(resource["type"], parameter["name"], example)


CALLS = {
    "read": ("GET", "{type}/x"),
    "vread": ("GET", "{type}/x/_history/1"),
    "history-instance": ("GET", "{type}/x/_history"),
    "history-type": ("GET", "{type}/_history"),
    "search-type": ("GET", "{type}"),
    "create": ("POST", "{type}"),
    "update": ("PUT", "{type}/x"),
    "patch": ("PATCH", "{type}/x"),
    "delete": ("DELETE", "{type}/x"),
    "transaction": ("POST", ""),
    "batch": ("POST", ""),
    "history-system": ("GET", "_history"),
    "search-system": ("GET", ""),
    "validate": ("POST", "{type}/$validate"),
    "everything": ("GET", "{type}/x/$everything"),
    "document": ("GET", "{type}/x/$document"),
    "summary": ("GET", "{type}/x/$summary"),
}
NOT_SERVED = (405, 501)


def test_every_listed_interaction_and_operation_is_served_and_no_other(api: FlaskClient) -> None:
    """Row B13: a listed one is answered by the resource or its absence, one that is not listed by 403, 404 or 405."""
    (rest,) = send(api, "GET", "metadata").get_json()["rest"]
    by_type = {one["type"]: one for one in rest["resource"]}
    served = []

    for resource_type in ("Patient", "Composition", "Observation"):
        one = by_type[resource_type]
        operations = [each["name"] for each in one["operation"] if each["name"] != "export"]
        listed = [each["code"] for each in one["interaction"]] + operations
        for name in [*listed, *(each["code"] for each in rest["interaction"])]:
            method, path = CALLS[name]
            answer = send(api, method, path.format(type=resource_type), {} if method != "GET" else None)
            issue = (answer.get_json(silent=True) or {}).get("issue", [{}])[0].get("code")
            served.append((name, answer.status_code not in NOT_SERVED, issue != "not-supported" or method == "PATCH"))
    refused = send(api, "POST", "AuditEvent", {}, token="auditor")

    assert {(each, ok) for _, each, ok in served} == {(True, True)}
    assert len(served) > 30
    assert [each["code"] for each in by_type["AuditEvent"]["interaction"]] == [
        "read", "vread", "history-instance", "history-type", "search-type"
    ]  # fmt: skip
    assert refused.status_code == 403


def test_the_statement_is_a_valid_resource(definitions: Definitions) -> None:
    """Row B13: it passes the validation that every resource passes."""
    statement = capability_statement(definitions, base_url=BASE, token_endpoint=TOKEN_ENDPOINT, bulk_export=True)

    assert Validator(load_structures()).findings(statement) == ()


@pytest.mark.parametrize(
    ("configuration", "endpoint"),
    [({"token_endpoint": "https://t"}, "https://t"), ({}, None), ({"token_endpoint": 1}, None)],
)
def test_the_token_endpoint_is_the_smart_configurations(configuration: dict[str, object], endpoint: str | None) -> None:
    assert token_endpoint_of(configuration) == endpoint


def test_every_listed_include_works(definitions: Definitions) -> None:
    """Row B13: each is parsed as a search of the type would have it; Composition refers forth and is referred to."""
    statement = capability_statement(definitions, base_url=BASE, token_endpoint=None)
    parser = SearchParser(definitions, base_url=BASE)
    by_type = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}

    for resource_type in ("Composition", "Patient", "Observation", "Organization"):
        for name, member in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for value in by_type[resource_type][member]:
                (include,) = parser.query(resource_type, [(name, value)]).query.includes
                assert include.reverse == (name == "_revinclude")
    assert by_type["Organization"]["searchInclude"] == ["*", "Organization:endpoint", "Organization:partof"]
    assert "Observation:patient" in by_type["Patient"]["searchRevInclude"]
    assert "Observation:patient" not in by_type["Group"]["searchRevInclude"]
    assert "Provenance:target" in by_type["Slot"]["searchRevInclude"]
