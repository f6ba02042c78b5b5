"""The token endpoint's use case. Rows A5, A10, A15 to A17, X8 to X11, X46; threats E08, E14."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from jwt.types import Options

from authserver.errors import InvalidClient, InvalidScope, InvalidTarget, UnauthorizedClient
from authserver.protocol.access_token import MAX_TOKEN_LENGTH
from authserver.protocol.resource_types import ADMINISTRATIVE_TYPES, KNOWN_TYPES
from authserver.services.token_issuance import TokenIssuance
from authserver.settings import DOCUMENTED_TYPES
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW, inline_keys, make_assertion
from tests.keys import key
from tests.services.memory_server import Server, open_server

EVERYTHING = " ".join(f"system/{name}.read" for name in sorted(DOCUMENTED_TYPES.split()))


def claims_of(answer: Any) -> dict[str, Any]:
    """Return the claims of the answer's token, unverified."""
    return jwt.decode(answer["access_token"], options={"verify_signature": False})


def test_the_answer_is_the_documented_one(server: Server) -> None:
    """Rows A15 and A16."""
    answer = dict(server.issue())

    assert answer.pop("access_token").count(".") == 2
    assert answer == {"token_type": "Bearer", "expires_in": 300, "scope": EVERYTHING, "need_patient_banner": True}


def test_the_token_is_signed_by_a_published_key(server: Server) -> None:
    """Row A17."""
    token = server.issue(scope="system/Patient.rs")["access_token"]

    published = {one["kid"]: one for one in server.parts.signer.public_jwks()["keys"]}
    header = jwt.get_unverified_header(token)
    public = jwt.PyJWK(published[header["kid"]])
    unchecked: Options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, public, algorithms=["ES256"], audience=FHIR_BASE, issuer=ISSUER, options=unchecked)
    jti = claims.pop("jti")
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")
    assert jti.startswith("1.")
    assert len(jti) >= 22
    assert claims == {
        "iss": ISSUER,
        "sub": CLIENT_ID,
        "aud": FHIR_BASE,
        "client_id": CLIENT_ID,
        "scope": "system/Patient.rs",
        "iat": NOW,
        "exp": NOW + 300,
    }


def test_every_token_has_a_jti_of_its_own(server: Server) -> None:
    assert len({claims_of(server.issue())["jti"] for _ in range(20)}) == 20


def test_the_random_part_comes_from_outside(server: Server) -> None:
    issuance = dataclasses.replace(server.services.issuance, new_id=lambda: "chosen")
    services = dataclasses.replace(server.services, issuance=issuance)

    answer = Server(server.parts, services).issue()

    assert claims_of(answer)["jti"] == "1.chosen"
    assert isinstance(issuance, TokenIssuance)


def test_the_life_is_the_registered_one(server: Server) -> None:
    """Row A5."""
    server.register(auth={"client_credentials": {"access_token_expiration": 60}})

    answer = server.issue()

    claims = claims_of(answer)
    assert (answer["expires_in"], claims["exp"] - claims["iat"]) == (60, 60)


def test_a_tenant_is_in_the_token(server: Server) -> None:
    server.register(tenant="clinic-1")

    assert claims_of(server.issue())["tenant"] == "clinic-1"


def test_no_scope_parameter_asks_for_what_is_registered(server: Server) -> None:
    """Row A10."""
    assert server.issue(scope=None)["scope"] == EVERYTHING


def test_the_setting_makes_the_scope_parameter_required(tmp_path: Path) -> None:
    """Row A10."""
    server = open_server(tmp_path, scope_required=True)
    server.register()

    with pytest.raises(InvalidScope) as refused:
        server.issue(scope=None)

    assert refused.value.reason == "scope_missing"
    assert server.issue(scope="system/Patient.rs")["scope"] == "system/Patient.rs"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("", "scope_malformed"),
        ("system/Patient.dus", "scope_malformed"),
        ("system/Patient.write", "nothing_granted"),
        ("system/Account.read", "nothing_granted"),
        ("system/Client.read", "nothing_granted"),
        ("system/AccessPolicy.read", "nothing_granted"),
        ("system/AuditEvent.read", "nothing_granted"),
        ("patient/Patient.read", "nothing_granted"),
        ("openid", "nothing_granted"),
        ("__introspect", "nothing_granted"),
    ],
)
def test_nothing_to_grant_is_invalid_scope(server: Server, scope: str, reason: str) -> None:
    """Rows A10 and X10; the wildcard covers none of the administrative types."""
    with pytest.raises(InvalidScope) as refused:
        server.issue(scope=scope)

    assert (refused.value.reason, refused.value.status) == (reason, 400)
    assert server.issue(scope="system/Patient.read")["scope"] == "system/Patient.read"


def test_a_client_without_scopes_gets_no_token(server: Server) -> None:
    server.register(scope=None)

    for scope in (None, "system/Patient.rs"):
        with pytest.raises(InvalidScope):
            server.issue(scope=scope)


def test_a_request_is_narrowed_and_told_so(server: Server) -> None:
    """Row X11."""
    assert server.issue(scope="system/Patient.cruds system/Goal.write")["scope"] == "system/Patient.rs"


@pytest.mark.parametrize(
    "scope",
    [
        "system/Patient.cruds",
        "system/Patient.rs system/Account.rs",
        "system/Patient.rs openid",
        "system/Patient.rs patient/Patient.rs",
        "system/Patient.rs system/Client.r",
        "system/Patient.rs __introspect",
    ],
)
def test_a_strict_client_is_refused_when_anything_is_left_out(server: Server, scope: str) -> None:
    """Row X11."""
    server.register(scope_mode="strict")

    with pytest.raises(InvalidScope) as refused:
        server.issue(scope=scope)

    assert refused.value.reason == "scope_narrowed"


@pytest.mark.parametrize(
    ("registered", "requested", "granted"),
    [
        (["system/*.read"], "system/*.read", EVERYTHING),
        (["system/*.read"], "system/Patient.rs system/Patient.r", "system/Patient.rs"),
        (["system/Goal.read", "system/Goal.write"], "system/Goal.*", "system/Goal.*"),
        (["system/Goal.rs?_id=1"], "system/Goal.r?_id=1", "system/Goal.r?_id=1"),
        (["system/Goal.rs"], None, "system/Goal.rs"),
    ],
)
def test_a_strict_client_gets_what_is_wholly_registered(
    server: Server, registered: list[str], requested: str | None, granted: str
) -> None:
    server.register(scope_mode="strict", scope=registered)

    assert server.issue(scope=requested)["scope"] == granted


def test_a_grant_too_long_for_a_token_is_refused(tmp_path: Path) -> None:
    server = open_server(tmp_path)
    server.register(scope=["system/*.read", "system/*.write"])
    filters = [f"system/*.rs?_tag={'x' * 24}{number}" for number in range(20)]

    with pytest.raises(InvalidScope) as refused:
        server.issue(scope=" ".join([*filters[:-1], "system/*.cud"]))

    assert refused.value.reason == "scope_too_long"
    assert server.issue(scope=" ".join(filters[:2]))["scope"].count(" ") == 37


def test_the_longest_usual_token_is_still_introspectable(tmp_path: Path) -> None:
    """Every R4 type, read and written, is within what introspection takes."""
    types = " ".join(sorted(KNOWN_TYPES - ADMINISTRATIVE_TYPES))
    server = open_server(tmp_path, wildcard_types=types, signing_algorithm="ES256")
    server.register(scope=["system/*.cruds"])

    token = server.issue(scope="system/*.read system/*.write")["access_token"]

    assert len(token) <= MAX_TOKEN_LENGTH
    assert server.services.introspection.introspect(token, now=NOW)["active"] is True


def test_a_client_not_registered_for_the_grant_is_told_so_once_proven(server: Server) -> None:
    """Row A5; a stranger hears invalid_client."""
    server.register(grant_types=["basic"])

    with pytest.raises(UnauthorizedClient):
        server.issue()
    with pytest.raises(InvalidClient):
        server.issue(make_assertion(key("ES384", "key-2"), header={"kid": "key-1"}))


@pytest.mark.parametrize("scope", ["", "system/Patient.write", "nonsense.*"])
def test_a_stranger_learns_nothing_of_scopes(server: Server, scope: str) -> None:
    """Threat IS: scopes are spoken of only to a proven client, and its jti is spent then."""
    assertion = make_assertion(jti="one")

    with pytest.raises(InvalidClient):
        server.issue(make_assertion(key("ES384", "key-2"), header={"kid": "key-1"}), scope=scope)
    with pytest.raises(InvalidScope):
        server.issue(assertion, scope=scope)
    with pytest.raises(InvalidClient) as replayed:
        server.issue(assertion)

    assert replayed.value.reason == "jti_replayed"


REGISTERED: dict[str, Any] = {"auth": {"client_credentials": {"audience": ["https://a.example", "https://b.example"]}}}


@pytest.mark.parametrize(
    ("changes", "resources", "expected"),
    [
        ({}, (), FHIR_BASE),
        ({}, (FHIR_BASE,), FHIR_BASE),
        (REGISTERED, (), ["https://a.example", "https://b.example"]),
        (REGISTERED, ("https://b.example",), "https://b.example"),
        (REGISTERED, ("https://b.example", "https://a.example"), ["https://a.example", "https://b.example"]),
        (REGISTERED, ("https://b.example", "https://b.example"), "https://b.example"),
    ],
)
def test_the_audience_is_registered_and_may_be_narrowed(
    server: Server, changes: dict[str, Any], resources: tuple[str, ...], expected: object
) -> None:
    """Row X9; RFC 8707 section 2."""
    server.register(**changes)

    assert claims_of(server.issue(resources=resources))["aud"] == expected


@pytest.mark.parametrize("resource", ["https://c.example", "https://a.example/", "https://A.example", FHIR_BASE, "x"])
def test_a_resource_beside_the_audience_is_an_invalid_target(server: Server, resource: str) -> None:
    """RFC 8707 section 2."""
    server.register(**REGISTERED)

    with pytest.raises(InvalidTarget):
        server.issue(resources=("https://a.example", resource))


def test_the_record_has_no_token_and_no_assertion(server: Server) -> None:
    """Threat E14: identifiers, never credentials."""
    assertion = make_assertion()

    answer = server.issue(assertion)

    claims = claims_of(answer)
    facts = {"client_id": CLIENT_ID, "scope": claims["scope"], "jti": claims["jti"]}
    assert server.events[-1] == ("token_issued", facts)
    recorded = json.dumps(server.events)
    for secret in (*assertion.split("."), *answer["access_token"].split(".")):
        assert secret not in recorded


def test_a_token_leaves_no_row_but_the_jti_of_its_assertion(server: Server) -> None:
    """Row X46."""
    server.register(**inline_keys(key()))
    before = server.parts.stores.resources.history("Client", CLIENT_ID)

    for _ in range(10):
        server.issue()

    stores = server.parts.stores
    assert stores.resources.history("Client", CLIENT_ID) == before
    assert (stores.replay_guard.purge(before=2**40), stores.revocations.purge(before=2**40)) == (10, 0)
