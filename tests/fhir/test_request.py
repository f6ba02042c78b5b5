"""Canonical paths, interactions and the letters they need."""

import pytest

from authserver.errors import BadRequest, MethodNotAllowed, NonCanonicalPath
from authserver.fhir.request import FhirRequest, canonical_segments, parse_parameters, parse_request


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/fhir", ()),
        ("/fhir/Observation", ("Observation",)),
        ("/fhir/Observation/a-1.b", ("Observation", "a-1.b")),
        ("/fhir/Patient/1/$everything", ("Patient", "1", "$everything")),
        ("/fhir/Patient/1/_history/2", ("Patient", "1", "_history", "2")),
    ],
)
def test_canonical_paths_become_segments(path: str, segments: tuple[str, ...]) -> None:
    assert canonical_segments(path, prefix="/fhir", raw_target=f"{path}?a=%20") == segments


@pytest.mark.parametrize(
    "path",
    ["/fhir/", "/fhir//Observation", "/fhir/Observation/", "/fhir/./Observation", "/fhir/../Observation", "/", ""]
    + [f"/fhir/Observation/{tail}" for tail in ("a;x=1", "a%2f", "a\\b", "a\0", "a\n", "a b", "é", "x" * 65, "a_b*")],
)  # fmt: skip
def test_paths_with_a_second_spelling_are_refused(path: str) -> None:
    """Threat G05."""
    with pytest.raises(NonCanonicalPath):
        canonical_segments(path, prefix="/fhir", raw_target=None)


@pytest.mark.parametrize(
    "target", ["/fhir/Obs%65rvation", "/fhir/Observation%2F1", "https://h/fhir/%4fbservation", "/fhir/%2e%2e/x?a=b"]
)
def test_percent_signs_in_the_raw_path_are_refused(target: str) -> None:
    """Threat G05: even where the decoded path is harmless."""
    with pytest.raises(NonCanonicalPath):
        canonical_segments("/fhir/Observation", prefix="/fhir", raw_target=target)


def test_percent_signs_in_the_query_are_fine() -> None:
    target = "https://h/fhir/Observation?code=%7C"

    assert canonical_segments("/fhir/Observation", prefix="/fhir", raw_target=target) == ("Observation",)


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", ()),
        (b"code=a%7Cb&code=c", (("code", "a|b"), ("code", "c"))),
        (b"a&b=", (("a", ""), ("b", ""))),
        (b"name=%C3%A9+x", (("name", "é x"),)),
    ],
)
def test_query_strings_are_decoded_in_order(query: bytes, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_parameters(query) == pairs


@pytest.mark.parametrize("query", [b"a=%ff", b"a=\xff", b"&".join([b"a=1"] * 101)])
def test_query_strings_that_are_no_text_or_too_long_are_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_parameters(query)


@pytest.mark.parametrize(
    ("method", "path", "interaction", "letter", "served"),
    [
        ("GET", "Observation", "search-type", "s", True),
        ("HEAD", "Observation", "search-type", "s", True),
        ("GET", "Observation/1", "read", "r", True),
        ("HEAD", "Observation/1", "read", "r", True),
        ("POST", "Observation", "create", "c", True),
        ("PUT", "Observation", "update", "u", True),
        ("PUT", "Observation/1", "update", "u", True),
        ("PATCH", "Observation/1", "patch", "u", True),
        ("DELETE", "Observation/1", "delete", "d", True),
        ("DELETE", "Observation", "delete", "d", True),
        ("POST", "Observation/1", "operation", "c", False),
        ("POST", "Observation/_search", "search-type", "s", True),
        ("GET", "Observation/_search", "search-type", "s", False),
        ("POST", "_search", "search-system", None, True),
        ("GET", "_search", "search-system", None, False),
        ("POST", "Observation/1/_search", "operation", "c", False),
        ("POST", "AuditEvent/_search", "search-type", "s", True),
        ("GET", "Observation/_history", "history-type", "s", True),
        ("GET", "Observation/1/_history", "history-instance", "r", True),
        ("GET", "Observation/1/_history/2", "vread", "r", True),
        ("GET", "Patient/1/$everything", "operation", "r", True),
        ("POST", "Patient/$validate", "operation", "c", True),
        ("GET", "Patient/1/Observation", "operation", "r", False),
        ("GET", "", "search-system", None, True),
        ("HEAD", "", "search-system", None, True),
        ("POST", "", "transaction", None, True),
        ("PUT", "", "operation", None, False),
        ("GET", "_history", "history-type", None, True),
        ("POST", "Patient/1/$everything", "operation", "r", True),
        ("PUT", "Patient/1/$everything", "operation", "r", False),
        ("POST", "Patient/1/$validate", "operation", "u", True),
        ("GET", "Composition/1/$document", "operation", "r", True),
        ("GET", "Observation/1/$everything", "operation", "r", False),
        ("POST", "Observation/1/_history", "history-instance", "c", False),
        ("PUT", "Observation/1/_history/2", "vread", "u", False),
        ("GET", "Observation/1/_history/2/3", "vread", "r", False),
        ("POST", "AuditEvent", "create", "c", False),
        ("PUT", "AuditEvent/1", "update", "u", False),
        ("DELETE", "AuditEvent/1", "delete", "d", False),
        ("GET", "AuditEvent/1", "read", "r", True),
    ],
)
def test_each_interaction_needs_its_letter(
    method: str, path: str, interaction: str, letter: str | None, served: bool
) -> None:
    """Threat H18; whatever is not listed is not served."""
    segments = path.split("/") if path else []

    request = parse_request(method, f"/fhir/{path}", segments=segments)

    assert (request.interaction, request.letter, request.served) == (interaction, letter, served)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "get", "SEARCH", "CONNECT"])
def test_other_methods_are_not_allowed(method: str) -> None:
    """Threat G06."""
    with pytest.raises(MethodNotAllowed) as refused:
        parse_request(method, "/fhir/Observation", segments=["Observation"])

    assert refused.value.headers == {"Allow": "GET, HEAD"}


def test_the_description_says_what_policies_may_ask() -> None:
    request = parse_request("GET", "/fhir/Observation", segments=["Observation"], parameters=[("code", "4548-4")])

    assert request.description() == {
        "method": "GET",
        "path": "/fhir/Observation",
        "parameters": [["code", "4548-4"]],
        "interaction": "search-type",
        "resource_type": "Observation",
        "resource_id": None,
    }
    assert isinstance(request, FhirRequest)
