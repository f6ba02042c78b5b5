"""Reading what a proxy tells of a request, and which scope it needs. Row X45; threats G05, G06, F09."""

import pytest

from authserver.errors import BadRequest, NonCanonicalPath
from authserver.protocol import forwarded_request, scopes
from authserver.protocol.fhir_interaction import Interaction
from authserver.protocol.forwarded_request import ForwardedRequest
from authserver.protocol.policy import PolicyRequest

BASES = ("/fhir", "/other/r4")


def test_a_target_is_a_path_and_decoded_parameters() -> None:
    read = forwarded_request.parse("GET", "/fhir/Observation?code=a%7Cb&code=c&empty=")

    assert read == ForwardedRequest("GET", "/fhir/Observation", (("code", "a|b"), ("code", "c"), ("empty", "")))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("", "/x"),
        ("get", "/x"),
        ("GET,GET", "/x"),
        ("GET\r\nX: y", "/x"),
        ("G" * 17, "/x"),
        ("GET", ""),
        ("GET", "x"),
        ("GET", "https://auth.example/x"),
        ("GET", "*"),
        ("GET", "/x#y"),
        ("GET", "/x?a=%ff"),
        ("GET", "/x?" + "a=1&" * 101),
        ("GET", "/x?access_token=y"),
    ],
)
def test_what_is_no_description_is_refused(method: str, target: str) -> None:
    """X45, F09: better no answer than one about another request."""
    with pytest.raises(BadRequest) as caught:
        forwarded_request.parse(method, target)

    assert caught.value.reason == ("token_in_query" if "access_token" in target else "forwarded_request")


@pytest.mark.parametrize(
    "path",
    ["/a/../fhir", "/./x", "//x", "/a//b", "/a;b", "/a\\b", "/%2e%2e/x", "/fhir/Patient%2f1", "/é", "/a\x00", "/a b"],
)
def test_a_path_with_a_second_spelling_is_refused(path: str) -> None:
    """G05: proxy and server behind it might read it differently."""
    with pytest.raises(NonCanonicalPath):
        forwarded_request.parse("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/fhir/Patient", Interaction("search-type", "Patient", None, "s")),
        ("HEAD", "/other/r4/Patient/1", Interaction("read", "Patient", "1", "r")),
        ("GET", "/fhir/Patient/1/_history/2", Interaction("vread", "Patient", "1", "r")),
        ("GET", "/fhir/Patient/_history", Interaction("history-type", "Patient", None, "s")),
        ("POST", "/fhir/Patient/_search", Interaction("search-type", "Patient", None, "s")),
        ("POST", "/fhir/Patient", Interaction("create", "Patient", None, "c")),
        ("PATCH", "/fhir/Patient/1", Interaction("patch", "Patient", "1", "u")),
        ("DELETE", "/fhir/Patient/1", Interaction("delete", "Patient", "1", "d")),
        ("POST", "/fhir", Interaction("operation", None, None, None)),
        ("TRACE", "/fhir/Patient", Interaction("operation", None, None, None)),
        ("GET", "/fhir/metadata", Interaction("capabilities", None, None, None)),
        ("GET", "/fhir/.well-known/smart-configuration", Interaction("capabilities", None, None, None)),
        ("GET", "/fhirx/Patient", None),
        ("GET", "/api/Patient", None),
        ("GET", "/other", None),
    ],
)
def test_a_path_below_a_base_is_read_as_fhir_does(method: str, path: str, expected: Interaction | None) -> None:
    """X45: type and letter from the parser that the FHIR layer uses."""
    assert forwarded_request.fhir_interaction(ForwardedRequest(method, path), BASES) == expected


def test_a_base_at_the_root_covers_every_path() -> None:
    found = forwarded_request.fhir_interaction(ForwardedRequest("GET", "/Patient/1"), ("",))

    assert found == Interaction("read", "Patient", "1", "r")


@pytest.mark.parametrize(
    ("method", "target", "granted", "missing"),
    [
        ("GET", "/fhir/Patient/1", "system/Patient.rs", None),
        ("GET", "/fhir/Patient/1", "system/Patient.s", "system/Patient.r"),
        ("GET", "/fhir/Patient/1", "system/Observation.rs", "system/Patient.r"),
        ("GET", "/fhir/Patient/1", "patient/Patient.rs user/Patient.rs", "system/Patient.r"),
        ("GET", "/fhir/Patient/1", "", "system/Patient.r"),
        ("GET", "/fhir/Patient/1", "__introspect", "system/Patient.r"),
        ("PUT", "/fhir/Patient/1", "system/Patient.rs", "system/Patient.u"),
        ("PUT", "/fhir/Patient/1", "system/Patient.write", None),
        ("GET", "/fhir/Client/1", "system/*.cruds", "system/Client.r"),
        ("GET", "/fhir/metadata", "", None),
        # a filtered scope is met by a search that names the filter, and by nothing else
        ("GET", "/fhir/Observation?category=laboratory&code=1", "system/Observation.rs?category=laboratory", None),
        ("GET", "/fhir/Observation?category=vital-signs", "system/Observation.rs?category=laboratory", "S"),
        ("GET", "/fhir/Observation", "system/Observation.rs?category=laboratory", "S"),
        ("GET", "/fhir/Observation/1?category=laboratory", "system/Observation.rs?category=laboratory", "R"),
        # answers that no path tells of
        ("GET", "/fhir/Patient?_include=Patient:organization", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient?_include:iterate=x", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient?_revinclude=Observation:subject", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient?_has:Observation:patient:code=1", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Observation?subject:Patient.name=x", "system/Observation.rs", "ALL"),
        ("POST", "/fhir/Patient/_search", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient/1/$everything", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient/1/Observation", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/$export", "system/*.rs", "ALL"),
        ("POST", "/fhir", "system/*.rs", "ALL"),
        ("TRACE", "/fhir/Patient/1", "system/Patient.rs", "ALL"),
        ("GET", "/fhir/Patient?_include=Patient:organization", "system/*.rs", None),
        ("GET", "/fhir/Patient?_include=Patient:organization", "system/*.r", "ALL"),
        ("GET", "/fhir/Patient?_include=Patient:organization", "system/*.rs?_tag=x", "ALL"),
        ("GET", "/fhir/Patient/1/$everything", "system/*.rs", None),
        ("POST", "/fhir/Patient/_search", "system/*.rs", None),
        ("POST", "/fhir/Patient/$x", "system/*.rs", "ALL"),
        ("POST", "/fhir", "system/*.cruds", None),
    ],
)
def test_the_scope_must_cover_what_the_request_can_bring(
    method: str, target: str, granted: str, missing: str | None
) -> None:
    """X45: type and letter of the path; what a path cannot tell needs the wildcard."""
    request = forwarded_request.parse(method, target)
    found = forwarded_request.fhir_interaction(request, BASES)
    assert found is not None

    answer = forwarded_request.needed_scope(found, request, scopes.parse_granted(granted))

    spelled = {"S": "system/Observation.s", "R": "system/Observation.r", "ALL": "system/*.cruds"}
    assert answer == (spelled.get(missing, missing) if missing else None)


def test_the_policies_are_asked_about_the_request_as_described() -> None:
    request = forwarded_request.parse("GET", "/fhir/Patient/1?_format=json")

    described = forwarded_request.policy_request(request, forwarded_request.fhir_interaction(request, BASES))
    plain = forwarded_request.policy_request(forwarded_request.parse("POST", "/api/x"), None)

    assert described == PolicyRequest("GET", "/fhir/Patient/1", (("_format", "json"),), "read", "Patient", "1")
    assert plain == PolicyRequest("POST", "/api/x")
