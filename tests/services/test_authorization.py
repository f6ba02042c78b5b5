"""Who is calling, and may they. Rows G01 of the threats, A8, A16, X7; the decision "who may call what"."""

from pathlib import Path
from typing import Any

import pytest

from authserver.errors import Forbidden, InsufficientScope, InvalidClient, LoginRequired
from authserver.protocol import scopes
from authserver.protocol.policy import PolicyRequest
from authserver.protocol.scopes import INTROSPECT, ScopeSet
from authserver.protocol.token_request import ClientAssertion
from authserver.services.authorization import Authorization, Caller
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW, make_assertion
from tests.services.memory_server import SECRET, Server, open_server

PUT_CLIENT = PolicyRequest("PUT", "/Client/x", (), "update", "Client", "x")
OPERATION = PolicyRequest("POST", "/auth/introspect", (), "auth-introspect")
BASIC: dict[str, Any] = {"grant_types": ["basic", "client_credentials"], "secret": SECRET}
FOR_US = {"auth": {"client_credentials": {"audience": [ISSUER]}}}


@pytest.fixture
def authorization(server: Server) -> Authorization:
    """The authorization of the server."""
    return server.services.authorization


def test_a_secret_proves_a_client_and_its_scopes_limit_it(server: Server, authorization: Authorization) -> None:
    """Row X7; Basic is narrowed by what the client registered."""
    server.register(**BASIC, scope=["system/Client.rs"])

    caller = authorization.by_secret(CLIENT_ID, SECRET)

    assert (caller.client.id, caller.scopes) == (CLIENT_ID, scopes.parse_set("system/Client.rs"))


def test_a_client_that_registered_no_scope_is_bound_by_policies_alone(
    server: Server, authorization: Authorization
) -> None:
    server.register(**BASIC, scope=None)

    assert authorization.by_secret(CLIENT_ID, SECRET).scopes is None


@pytest.mark.parametrize("secret", [SECRET + " ", SECRET.upper(), "", "x", f"plain:{SECRET}"])
def test_a_wrong_secret_is_refused(server: Server, authorization: Authorization, secret: str) -> None:
    server.register(**BASIC)

    with pytest.raises(LoginRequired):
        authorization.by_secret(CLIENT_ID, secret)

    assert authorization.by_secret(CLIENT_ID, SECRET).client.id == CLIENT_ID


@pytest.mark.parametrize(
    ("changes", "client_id"),
    [
        ({"active": False}, CLIENT_ID),
        ({"grant_types": ["client_credentials"]}, CLIENT_ID),
        ({}, "unknown"),
        ({}, CLIENT_ID.upper()),
        ({}, ""),
        ({}, "a\u0000b"),
        ({}, "a/b"),
    ],
)
def test_whatever_keeps_a_secret_from_proving_looks_alike(
    server: Server, authorization: Authorization, changes: dict[str, Any], client_id: str
) -> None:
    """Threat E06."""
    server.register(**(BASIC | changes))

    with pytest.raises(LoginRequired) as refused:
        authorization.by_secret(client_id, SECRET)

    told = (refused.value.status, refused.value.public, refused.value.reason)
    assert told == (401, "Authentication is required.", "basic_refused")


def test_a_client_without_a_secret_has_none_that_fits(server: Server, authorization: Authorization) -> None:
    server.register(grant_types=["basic"])

    for secret in ("", "None", "plain:"):
        with pytest.raises(LoginRequired):
            authorization.by_secret(CLIENT_ID, secret)


def test_a_secret_of_a_former_life_is_no_secret(server: Server, authorization: Authorization) -> None:
    """Row X50."""
    server.register(**BASIC)
    server.delete()
    server.register(grant_types=["basic"])

    with pytest.raises(LoginRequired):
        authorization.by_secret(CLIENT_ID, SECRET)


@pytest.mark.parametrize("audience", [[ISSUER], [FHIR_BASE], ["https://x.example", ISSUER]])
def test_a_token_for_this_server_proves_its_client(
    server: Server, authorization: Authorization, audience: list[str]
) -> None:
    server.register(auth={"client_credentials": {"audience": audience}})

    caller = authorization.by_token(server.token(scope="system/Patient.rs"), now=NOW)

    assert (caller.client.id, caller.scopes) == (CLIENT_ID, scopes.parse_set("system/Patient.rs"))


@pytest.mark.parametrize("audience", ["https://other.example/fhir", f"{ISSUER}/", f"{FHIR_BASE}/Patient"])
def test_a_token_for_another_server_proves_nobody(server: Server, authorization: Authorization, audience: str) -> None:
    """Threat F05."""
    server.register(auth={"client_credentials": {"audience": [audience]}})

    with pytest.raises(LoginRequired) as refused:
        authorization.by_token(server.token(), now=NOW)

    assert refused.value.reason == "bearer_refused"


@pytest.mark.parametrize("now", [NOW + 300, NOW + 10_000])
def test_an_expired_token_proves_nobody(server: Server, authorization: Authorization, now: int) -> None:
    token = server.token()

    with pytest.raises(LoginRequired):
        authorization.by_token(token, now=now)

    assert authorization.by_token(token, now=NOW).client.id == CLIENT_ID


def test_the_longest_token_that_is_issued_proves_its_client(tmp_path: Path) -> None:
    server = open_server(tmp_path)
    server.register(scope=["system/*.read"])
    filters = [f"system/*.rs?_tag={'x' * 60}{number}" for number in range(5)]
    token = server.token(scope=" ".join(filters))

    caller = server.services.authorization.by_token(token, now=NOW)

    assert caller.scopes is not None
    assert len(str(caller.scopes)) > scopes.MAX_SCOPE_LENGTH
    assert len(caller.scopes.resources) == 5 * 19


def test_an_assertion_proves_a_client_within_its_scopes_and_once(authorization: Authorization) -> None:
    request = ClientAssertion(make_assertion())

    caller = authorization.by_assertion(request, now=NOW)

    assert (caller.client.id, caller.scopes) == (CLIENT_ID, scopes.parse_set("system/*.read"))
    with pytest.raises(InvalidClient):
        authorization.by_assertion(request, now=NOW)


def caller_with(server: Server, *tokens: str) -> Caller:
    """Return a caller limited to these scopes; none given: to nothing."""
    client = server.services.authorization.registry.client(CLIENT_ID)
    assert client is not None
    return Caller(client, scopes.collect(tokens))


def test_scope_and_policy_must_both_allow(server: Server, authorization: Authorization) -> None:
    """Row A8."""
    within, beyond = caller_with(server, "system/Client.u"), caller_with(server, "system/Client.rs")

    with pytest.raises(Forbidden) as no_policy:
        authorization.require_resource(within, PUT_CLIENT, letter="u")
    server.allow(CLIENT_ID)
    with pytest.raises(InsufficientScope) as no_scope:
        authorization.require_resource(beyond, PUT_CLIENT, letter="u")
    authorization.require_resource(within, PUT_CLIENT, letter="u")

    assert (no_policy.value.reason, no_policy.value.public) == ("policy_denied", "Forbidden.")
    assert (no_scope.value.reason, no_scope.value.status) == ("insufficient_scope", 403)
    assert 'scope="system/Client.u"' in no_scope.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize("resource_type", ["Client", "AccessPolicy", "AuditEvent"])
@pytest.mark.parametrize("scope", ["system/*.cruds", "system/*.*", "user/Client.cruds"])
def test_no_wildcard_opens_an_administrative_type(
    server: Server, authorization: Authorization, resource_type: str, scope: str
) -> None:
    """The decision "wildcard and administrative types"."""
    server.allow(CLIENT_ID)
    request = PolicyRequest("GET", f"/{resource_type}/x", (), "read", resource_type, "x")

    with pytest.raises(InsufficientScope):
        authorization.require_resource(caller_with(server, scope), request, letter="r")

    authorization.require_resource(caller_with(server, f"system/{resource_type}.r"), request, letter="r")


def test_a_named_operation_needs_its_scope_and_a_policy(server: Server, authorization: Authorization) -> None:
    """Threat F02."""
    named, unnamed = caller_with(server, INTROSPECT), caller_with(server, "system/*.cruds")

    with pytest.raises(Forbidden):
        authorization.require_name(named, OPERATION, scope=INTROSPECT)
    server.allow(CLIENT_ID)
    with pytest.raises(InsufficientScope):
        authorization.require_name(unnamed, OPERATION, scope=INTROSPECT)
    authorization.require_name(named, OPERATION, scope=INTROSPECT)

    unbound = Caller(named.client, None)
    authorization.require_name(unbound, OPERATION, scope=INTROSPECT)
    assert authorization.is_operator(unbound, OPERATION) is True


def test_a_resource_request_without_a_type_is_covered_by_no_scope(server: Server, authorization: Authorization) -> None:
    server.allow(CLIENT_ID)

    with pytest.raises(InsufficientScope):
        authorization.require_resource(caller_with(server, "system/Client.r"), OPERATION, letter="r")


def test_an_operator_is_bound_by_no_scope_and_allowed_by_a_policy(server: Server, authorization: Authorization) -> None:
    limited = caller_with(server, "system/Client.cruds", INTROSPECT)
    unbound = Caller(limited.client, None)

    before = [authorization.is_operator(one, OPERATION) for one in (limited, unbound)]
    server.allow(CLIENT_ID)
    after = [authorization.is_operator(one, OPERATION) for one in (limited, unbound)]

    assert (before, after) == ([False, False], [False, True])
    assert authorization.is_operator(Caller(limited.client, ScopeSet()), OPERATION) is False


def test_a_policy_does_not_outlive_the_client_it_was_written_for(server: Server, authorization: Authorization) -> None:
    """Threat G10: the id registered anew inherits nothing."""
    server.allow(CLIENT_ID)
    authorization.require_resource(caller_with(server, "system/Client.u"), PUT_CLIENT, letter="u")

    server.delete()
    server.register()

    with pytest.raises(Forbidden):
        authorization.require_resource(caller_with(server, "system/Client.u"), PUT_CLIENT, letter="u")
    server.allow(CLIENT_ID)
    authorization.require_resource(caller_with(server, "system/Client.u"), PUT_CLIENT, letter="u")
