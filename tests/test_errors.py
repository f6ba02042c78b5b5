"""The exception tree: every leaf renders in both forms, is told apart in the log and says nothing it should not.

Threat E06: whatever kept a client from proving itself, the bytes are the same.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from authserver import errors
from authserver.errors import AuthServerError, InvalidClient, Issue
from authserver.protocol import render

ISSUE_TYPES = frozenset(
    """
    invalid structure required value invariant security login unknown expired forbidden suppressed processing
    not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
    business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational
    """.split()
)
"""The value set issue-type (http://hl7.org/fhir/R4/valueset-issue-type.html)."""

DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
"""What error_description may consist of (RFC 6749 section 5.2)."""

_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "InvalidResource": ((Issue("Client.active", "No boolean.", "structure"),),),
    "InsufficientScope": ("system/Observation.s",),
    "MethodNotAllowed": ("GET, PUT",),
}


def classes(root: type[AuthServerError] = AuthServerError) -> Iterator[type[AuthServerError]]:
    """Yield every class of the tree, the abstract branches included; what refines a leaf elsewhere is tested there."""
    yield root
    for branch in root.__subclasses__():
        if branch.__module__ == errors.__name__:
            yield from classes(branch)


def raised(kind: type[AuthServerError]) -> AuthServerError:
    """Return an instance as the code would raise it."""
    return kind(*_ARGUMENTS.get(kind.__name__, ()))


BRANCHES = {"AuthServerError", "OAuthError", "ResourceError", "ProtocolError"}
LEAVES = [kind for kind in classes() if kind.__name__ not in BRANCHES]


def test_the_drawing_names_every_class() -> None:
    drawn = set(re.findall(r"[A-Z][A-Za-z]+(?:Error|[a-z])\b", (errors.__doc__ or "").partition("An error has")[0]))

    assert {kind.__name__ for kind in classes()} - drawn == set()


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_renders_as_oauth_json(kind: type[AuthServerError]) -> None:
    error = raised(kind)

    answer = render.oauth_error(error)

    assert json.loads(answer.body) == {"error": error.oauth_code, "error_description": error.public}
    assert (answer.status, answer.headers["Cache-Control"]) == (kind.status, "no-store")
    assert DESCRIPTION.fullmatch(error.public)
    assert re.fullmatch("[a-z_]+", error.oauth_code)


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_renders_as_operation_outcome(kind: type[AuthServerError]) -> None:
    error = raised(kind)

    outcome = json.loads(render.operation_outcome(error).body)

    assert outcome["resourceType"] == "OperationOutcome"
    assert {issue["code"] for issue in outcome["issue"]} <= ISSUE_TYPES
    assert {issue["severity"] for issue in outcome["issue"]} == {"fatal" if kind.status >= 500 else "error"}


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_reason_for_the_log(kind: type[AuthServerError]) -> None:
    assert re.fullmatch("[a-z_]+", raised(kind).reason)


def test_no_two_sentences_are_told_apart_by_a_client_that_is_not_proven() -> None:
    """Threat E06: byte for byte, headers included."""
    kinds = [kind for kind in classes(InvalidClient) if kind.status == InvalidClient.status]
    causes = [kind(detail=f"secret {number}", reason=f"cause_{number}") for number in range(3) for kind in kinds]

    answers = [render.oauth_error(error) for error in causes]

    assert answers == [render.oauth_error(InvalidClient())] * 6


@pytest.mark.parametrize("status", [401, 405])
def test_a_status_that_demands_a_header_has_it(status: int) -> None:
    """RFC 9110 sections 11.6.1 and 10.2.1."""
    header = {401: "WWW-Authenticate", 405: "Allow"}[status]

    assert [kind for kind in LEAVES if kind.status == status and not raised(kind).headers.get(header)] == []


def test_the_private_side_is_in_the_message_and_never_in_an_answer() -> None:
    error = InvalidClient(detail="kid 'x' is unknown", reason="key_not_found")

    assert str(error) == "key_not_found: kid 'x' is unknown"
    assert str(InvalidClient()) == "Client authentication failed."
    assert b"kid" not in render.oauth_error(error).body + render.operation_outcome(error).body


def test_several_findings_are_one_line_of_detail() -> None:
    findings = (Issue("Client.a", "one"), Issue("Client.b", "two"))

    error = errors.InvalidResource(findings)

    assert (error.detail, error.issues()) == ("Client.a: one; Client.b: two", findings)
    assert errors.InvalidResource(findings, detail="of a test").detail == "of a test"
