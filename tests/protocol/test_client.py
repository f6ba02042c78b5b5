"""The Client resource: what is taken, what it comes to mean, and where each fault is found.

Rows A5, A14, X6 to X9, X11, X12, X59; threats E11 and G02. The cases are in tests/vectors/clients.json.
"""

from typing import Any

import pytest

from authserver.errors import InvalidResource, Issue
from authserver.protocol import jose
from authserver.protocol.client import BASIC, Client, ClientRules, from_resource
from authserver.protocol.scopes import Scope, ScopeSet
from authserver.protocol.token_request import CLIENT_CREDENTIALS, JWT_BEARER
from tests.builders import CLIENT_ID, DEVELOPMENT_RULES, JWKS_URI, client_resource, inline_keys, make_client, vectors
from tests.keys import key
from tests.protocol.forgery import jwk_of, resolved


def read(case: dict[str, Any]) -> Client:
    """Read the documented Client with the changes of a case."""
    changes = {name: resolved(value) for name, value in case["changes"].items()}
    if isinstance(changes.get("jwks"), list):
        changes["jwks"] = [jwk_of(spec) for spec in changes["jwks"]]
    elif isinstance(changes.get("jwks"), dict) and isinstance(changes["jwks"].get("keys"), list):
        changes["jwks"] = {"keys": [jwk_of(spec) for spec in changes["jwks"]["keys"]]}
    return make_client("client-1", **changes)


@pytest.mark.parametrize("case", vectors("clients", lambda case: not case["paths"]))
def test_a_valid_client_is_read(case: dict[str, Any]) -> None:
    assert read(case).id == "client-1"


@pytest.mark.parametrize("case", vectors("clients", lambda case: case["paths"]))
def test_every_fault_of_a_client_is_found_at_its_path(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidResource) as refused:
        read(case)

    assert [issue.expression for issue in refused.value.findings] == case["paths"]
    assert all(issue.diagnostics and issue.severity == "error" for issue in refused.value.findings)


def test_the_documented_client_means_this() -> None:
    """Row A5."""
    assert make_client() == Client(
        id=CLIENT_ID,
        generation=1,
        active=True,
        grant_types=frozenset({CLIENT_CREDENTIALS}),
        scope=ScopeSet((Scope("system", "*", "rs", v1="read"),)),
        assertion_types=frozenset({JWT_BEARER}),
        token_lifetime=300,
        audience=(),
        algorithms=jose.DEFAULT_ALGORITHMS,
        jwks_uri=JWKS_URI,
        jwks=None,
    )


def test_the_own_members_have_their_effect() -> None:
    changed = {
        "tenant": "clinic-1",
        "audience_mode": "issuer_only",
        "scope_mode": "strict",
        "token_endpoint_auth_signing_alg": "ES384",
        "auth": {"client_credentials": {"audience": ["https://fhir.example"], "access_token_expiration": 60}},
        "grant_types": ["client_credentials", "basic"],
        "active": False,
    }

    client = from_resource(
        client_resource(**changed), client_id="c", rules=ClientRules(), generation=3, secret_hash="hash"
    )

    assert (client.tenant, client.issuer_audience_only, client.strict_scope) == ("clinic-1", True, True)
    assert (client.algorithms, client.audience, client.token_lifetime) == (("ES384",), ("https://fhir.example",), 60)
    assert (client.grant_types, client.active) == (frozenset({CLIENT_CREDENTIALS, BASIC}), False)
    assert (client.generation, client.secret_hash) == (3, "hash")


def test_how_short_a_secret_may_be_is_a_rule() -> None:
    """Development takes any; elsewhere a secret that is soon guessed is refused (ASVS 5.0, 6.2.1)."""
    body = client_resource(secret="1234567")

    taken = from_resource(body, client_id="c", rules=ClientRules(min_secret_length=1))
    with pytest.raises(InvalidResource) as refused:
        from_resource(body, client_id="c", rules=ClientRules())

    assert taken.id == "c"
    assert refused.value.findings == (Issue("Client.secret", "must have at least 8 characters", "value"),)


def test_a_hash_is_not_shown_when_a_client_is_printed() -> None:
    """Threat G15."""
    client = from_resource(client_resource(), client_id="c", rules=ClientRules(), secret_hash="hash-of-the-secret")

    assert "hash-of-the-secret" not in repr(client)


def test_inline_keys_are_the_ones_that_were_sent() -> None:
    client = make_client(**inline_keys(key(), key("RS384", "key-2")))

    assert client.jwks is not None
    assert [(one.kid, one.algorithm) for one in client.jwks.keys] == [("key-1", "ES384"), ("key-2", "RS384")]


@pytest.mark.parametrize(("limit", "registered", "expected"), [(3_600, 3_600, 3_600), (60, None, 60), (600, None, 300)])
def test_the_settings_bound_the_life_of_a_token(limit: int, registered: int | None, expected: int) -> None:
    """Threat E11."""
    auth = {"client_credentials": {"access_token_expiration": registered}}

    client = make_client(rules=ClientRules(max_token_lifetime=limit), auth=auth)

    assert client.token_lifetime == expected


def test_a_loopback_address_of_keys_is_for_development() -> None:
    uri = "http://127.0.0.1:8080/jwks.json"

    assert make_client(rules=DEVELOPMENT_RULES, jwks_uri=uri).jwks_uri == uri
    with pytest.raises(InvalidResource):
        make_client(jwks_uri=uri)


def test_a_finding_says_what_is_wrong_without_quoting_it() -> None:
    with pytest.raises(InvalidResource) as refused:
        make_client(active="secret-value", id="another-secret", scope=["secret scope"])

    assert refused.value.findings == (Issue("Client.active", "Input should be a valid boolean", "structure"),)
    assert "secret" not in str(refused.value.findings)
