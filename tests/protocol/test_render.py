"""Errors and documents as bytes: RFC 6749 JSON and OperationOutcome."""

import json

import pytest

from authserver.errors import InvalidClientCredentials, InvalidResource, InvalidScope, Issue, StorageUnavailable
from authserver.protocol import render
from authserver.protocol.render import FHIR_JSON, Answer

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def test_a_document_is_compact_json_that_nobody_stores() -> None:
    """Row A9, threat IC: no-store on every answer."""
    answer = render.json_answer({"a": ["é"]}, status=201)

    assert answer == Answer(201, {"Content-Type": "application/json", **NO_STORE}, '{"a":["é"]}'.encode())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": 2**64, "b": [-(2**80)]}, b'{"a":18446744073709551616,"b":[-1208925819614629174706176]}'),
        ({"a": 0.1, "b": None, "c": (True, '\u2028"')}, '{"a":0.1,"b":null,"c":[true,"\u2028\\""]}'.encode()),
        ({1: "one"}, b'{"1":"one"}'),
    ],
)
def test_json_holds_what_it_was_given(document: object, expected: bytes) -> None:
    assert render.encode(document) == expected


def test_an_oauth_error_has_code_and_description() -> None:
    answer = render.oauth_error(InvalidScope("A sentence.", detail="private"))

    body = b'{"error":"invalid_scope","error_description":"A sentence."}'
    assert answer == Answer(400, {"Content-Type": "application/json", **NO_STORE}, body)


def test_the_headers_of_an_error_are_those_of_its_answer() -> None:
    """RFC 6749 section 5.2: 401 with WWW-Authenticate for who used the Authorization header."""
    answer = render.oauth_error(InvalidClientCredentials())

    challenge = {"WWW-Authenticate": 'Basic realm="authserver", charset="UTF-8"'}
    assert (answer.status, answer.headers) == (401, {"Content-Type": "application/json", **NO_STORE, **challenge})


def test_every_finding_is_an_issue_of_the_outcome() -> None:
    warning = Issue("", "Have a look.", "informational", "warning")
    error = InvalidResource((Issue("Client.active", "No boolean.", "structure"), warning))

    answer = render.operation_outcome(error)

    assert (answer.status, answer.headers) == (422, {"Content-Type": FHIR_JSON, **NO_STORE})
    assert json.loads(answer.body) == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "structure",
                "diagnostics": "No boolean.",
                "expression": ["Client.active"],
            },
            {"severity": "warning", "code": "informational", "diagnostics": "Have a look."},
        ],
    }


def test_a_failure_of_the_server_is_fatal_and_says_when_to_come_back() -> None:
    answer = render.operation_outcome(StorageUnavailable(detail="private"))

    public = "The server cannot answer now; try again with a new assertion."
    issue = {"severity": "fatal", "code": "transient", "diagnostics": public}
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.body) == {"resourceType": "OperationOutcome", "issue": [issue]}
