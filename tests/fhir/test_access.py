"""The decision: type, scope, policy, and only then whether the server has the interaction."""

from dataclasses import replace

import pytest

from authserver.errors import Forbidden, InsufficientScope, MethodNotAllowed, NotFound
from authserver.fhir.access import AccessRules, Allow, Caller, Deny, UnknownOperation
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import parse_request
from authserver.fhir.search.ast import TokenCriterion, TokenValue
from authserver.fhir.search.parser import SearchParser
from authserver.protocol import scopes
from tests.fhir.builders import BASE

LAB = TokenCriterion("category", (TokenValue("laboratory", None),))
FINAL = TokenCriterion("status", (TokenValue("final", None),))


def _caller(scope: str, *, policy_allows: bool = True) -> Caller:
    return Caller("c", scopes.parse_granted(scope), "t", "jti", 0, policy_allows)


def _decide(definitions: Definitions, caller: Caller, request: str) -> Allow | Deny:
    method, _, path = request.partition(" ")
    rules = AccessRules(definitions, SearchParser(definitions, base_url=BASE))
    segments = path.split("/") if path else []
    return rules.decide(caller, parse_request(method, f"/fhir/{path}", segments=segments))


def _error(decision: Allow | Deny) -> type[Exception]:
    assert isinstance(decision, Deny)
    return type(decision.error)


@pytest.mark.parametrize("scope", ["system/Observation.read", "system/Observation.rs", "system/*.rs", "system/*.*"])
@pytest.mark.parametrize("request_line", ["GET Observation", "HEAD Observation", "GET Observation/1"])
def test_a_reading_scope_allows_reading_in_the_tenant(definitions: Definitions, scope: str, request_line: str) -> None:
    decision = _decide(definitions, _caller(scope), request_line)

    assert decision == Allow(Constraint("t", ((),)))


@pytest.mark.parametrize(
    ("scope", "request_line", "needed"),
    [
        ("system/Patient.read", "GET Observation", "system/Observation.s"),
        ("system/Observation.r", "GET Observation", "system/Observation.s"),
        ("system/Observation.s", "GET Observation/1", "system/Observation.r"),
        ("system/Observation.cud", "GET Observation/1", "system/Observation.r"),
        ("patient/Observation.rs", "GET Observation", "system/Observation.s"),
        ("user/*.*", "GET Observation", "system/Observation.s"),
        ("system/Observation.sr", "GET Observation", "system/Observation.s"),
        ("", "GET Observation", "system/Observation.s"),
        ("system/Observation.read", "POST Observation", "system/Observation.c"),
        ("system/Observation.read", "PUT Observation/1", "system/Observation.u"),
        ("system/Observation.read", "PATCH Observation/1", "system/Observation.u"),
        ("system/Observation.read", "DELETE Observation/1", "system/Observation.d"),
        ("system/Observation.read", "POST Observation/$validate", "system/Observation.c"),
        ("system/Observation.c", "PUT Observation/1", "system/Observation.u"),
        ("system/*.read", "GET AuditEvent", "system/AuditEvent.s"),
    ],
)
@pytest.mark.parametrize("policy_allows", [True, False])
def test_a_missing_letter_is_refused_whatever_the_policy_says(
    definitions: Definitions, scope: str, request_line: str, needed: str, policy_allows: bool
) -> None:
    """Rows A18 and A22, threat H18."""
    decision = _decide(definitions, _caller(scope, policy_allows=policy_allows), request_line)

    assert isinstance(decision, Deny)
    assert isinstance(decision.error, InsufficientScope)
    assert f'scope="{needed}"' in decision.error.headers["WWW-Authenticate"]


def test_a_policy_that_says_no_refuses(definitions: Definitions) -> None:
    """Row A8."""
    caller = _caller("system/*.*")

    assert isinstance(_decide(definitions, caller, "GET Observation"), Allow)
    assert _error(_decide(definitions, replace(caller, policy_allows=False), "GET Observation")) is Forbidden


@pytest.mark.parametrize("request_line", ["POST Observation", "PUT Observation/1", "DELETE Observation/1"])
def test_writing_needs_its_letter_and_is_constrained_by_it(definitions: Definitions, request_line: str) -> None:
    """Row A22 and threat H18."""
    decision = _decide(definitions, _caller("system/*.*"), request_line)

    assert decision == Allow(Constraint("t", ((),)))
    assert _error(_decide(definitions, _caller("system/*.rs"), request_line)) is InsufficientScope


@pytest.mark.parametrize("request_line", ["POST AuditEvent", "PUT AuditEvent/1", "DELETE AuditEvent/1"])
def test_nobody_writes_audit_events(definitions: Definitions, request_line: str) -> None:
    """Row X25: not by the wildcard, and not by a scope that names them."""
    decision = _decide(definitions, _caller("system/AuditEvent.cruds"), request_line)

    assert isinstance(decision, Deny)
    assert isinstance(decision.error, MethodNotAllowed)
    assert decision.error.headers == {"Allow": "GET, HEAD"}
    assert _error(_decide(definitions, _caller("system/*.*"), request_line)) is InsufficientScope


@pytest.mark.parametrize(
    "request_line",
    ["GET Observation/1/$meta", "GET Observation/1/$everything", "POST Observation/1/_search"],
)
def test_operations_that_are_not_there_are_refused(definitions: Definitions, request_line: str) -> None:
    """Threat H10."""
    decision = _decide(definitions, _caller("system/*.cruds"), request_line)

    assert _error(decision) is UnknownOperation


def test_an_unknown_type_is_not_found(definitions: Definitions) -> None:
    """Row B10."""
    assert _error(_decide(definitions, _caller("system/*.*"), "GET Nonsense")) is NotFound


def test_scope_parameters_become_the_constraint(definitions: Definitions) -> None:
    """Row X12: one alternative for each scope that grants the letter."""
    scope = "system/Observation.rs?category=laboratory system/Observation.r?status=final system/Patient.rs"

    searching = _decide(definitions, _caller(scope), "GET Observation")
    reading = _decide(definitions, _caller(scope), "GET Observation/1")

    assert searching == Allow(Constraint("t", ((LAB,),)))
    assert reading == Allow(Constraint("t", ((LAB,), (FINAL,))))


def test_a_scope_that_is_not_understood_adds_nothing(definitions: Definitions) -> None:
    """Leak L12."""
    decision = _decide(
        definitions,
        _caller("system/Observation.rs?category=laboratory system/Observation.rs?nonsense=1"),
        "GET Observation",
    )

    assert decision == Allow(Constraint("t", ((LAB,),)))


@pytest.mark.parametrize("query", ["nonsense=1", "date=soon", "_count=1", "category=laboratory&nonsense=1"])
def test_a_scope_that_is_not_understood_grants_nothing(definitions: Definitions, query: str) -> None:
    """Leak L12: not the type without the criterion."""
    decision = _decide(definitions, _caller(f"system/Observation.rs?{query}"), "GET Observation")

    assert _error(decision) is InsufficientScope


@pytest.mark.parametrize("request_line", ["GET Observation", "GET Patient"])
def test_a_wildcard_scope_takes_only_parameters_of_every_type(definitions: Definitions, request_line: str) -> None:
    common = _decide(definitions, _caller("system/*.rs?_tag=x"), request_line)
    of_some_types = _decide(definitions, _caller("system/*.rs?category=laboratory"), request_line)

    assert common == Allow(Constraint("t", ((TokenCriterion("_tag", (TokenValue("x", None),)),),)))
    assert _error(of_some_types) is InsufficientScope
