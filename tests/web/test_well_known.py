"""Discovery: truthful, absolute, and never from what the caller says about itself."""

import jwt
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from tests.http import Server


def document(server: Server, path: str) -> dict[str, object]:
    """Return a discovery document, asked with a misleading Host."""
    response = server.request("GET", path, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert b"evil" not in response.data
    return dict(response.json)


def test_the_smart_configuration_says_what_is_there(server: Server) -> None:
    """X1, D1-D10, E13."""
    found = document(server, "/.well-known/smart-configuration")

    assert found["token_endpoint"] == "https://auth.example/auth/token"
    assert found["grant_types_supported"] == ["client_credentials"]
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert found["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384", "RS256", "ES256"]
    assert found["capabilities"] == ["client-confidential-asymmetric", "permission-v1", "permission-v2"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert {"issuer", "authorization_endpoint"} & found.keys() == set()


@pytest.mark.parametrize("name", ["oauth-authorization-server", "openid-configuration"])
def test_the_server_metadata_is_valid(server: Server, name: str) -> None:
    """X1, M1, M2: by Authlib's own validation of RFC 8414."""
    found = AuthorizationServerMetadata(document(server, f"/.well-known/{name}"))

    assert found["issuer"] == "https://auth.example"
    assert found["jwks_uri"] == "https://auth.example/.well-known/jwks.json"
    assert [found.validate_issuer(), found.validate_token_endpoint(), found.validate_jwks_uri()] == [None] * 3
    assert None not in found.values()


def test_every_advertised_endpoint_answers(server: Server) -> None:
    """B13's rule for discovery: what is listed works."""
    found = document(server, "/.well-known/oauth-authorization-server")

    endpoints = {name: str(url) for name, url in found.items() if name.endswith("_endpoint")}
    answers = {
        name: server.request("POST", url.removeprefix("https://auth.example")).status_code
        for name, url in endpoints.items()
    }

    assert answers == {
        "introspection_endpoint": 400,
        "registration_endpoint": 401,
        "revocation_endpoint": 400,
        "token_endpoint": 400,
    }


def test_the_key_set_verifies_an_access_token(server: Server) -> None:
    """X2, A17: every key has kid, use and alg; PyJWT verifies with it; typ is at+jwt."""
    server.put_client()
    token = server.token()

    response = server.request("GET", "/.well-known/jwks.json")
    [jwk] = response.json["keys"]

    claims = jwt.decode(token, jwt.PyJWK(jwk), audience="https://auth.example/fhir", issuer="https://auth.example")
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": jwk["kid"], "typ": "at+jwt"}
    assert sorted(claims) == ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"]
    assert (jwk["use"], jwk["alg"], "d" in jwk) == ("sig", "ES256", False)
    assert response.headers["Cache-Control"] == "public, max-age=300"


def test_the_paths_need_no_caller_and_take_no_other_method(server: Server) -> None:
    """G06: HEAD is judged as GET, OPTIONS says nothing."""
    path = "/.well-known/jwks.json"

    assert server.request("HEAD", path).status_code == 200
    assert server.request("OPTIONS", path).status_code == 405
