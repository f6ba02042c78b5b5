"""The discovery documents. Rows X1, D3, D4, D6 to D12 of the protocol."""

from authserver.protocol import metadata
from authserver.protocol.metadata import Endpoints
from tests.builders import ISSUER

ENDPOINTS = Endpoints(ISSUER)
COMMON = {
    "token_endpoint": "https://auth.example/auth/token",
    "introspection_endpoint": "https://auth.example/auth/introspect",
    "revocation_endpoint": "https://auth.example/auth/revoke",
    "registration_endpoint": "https://auth.example/auth/register",
    "grant_types_supported": ["client_credentials"],
    "scopes_supported": ["system/*.read", "system/*.rs", "system/Goal.read", "system/Goal.rs", "__introspect"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
    "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "introspection_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
    "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "revocation_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
}


def test_smart_configuration_is_whole_and_without_issuer() -> None:
    document = metadata.smart_configuration(
        ENDPOINTS, algorithms=("RS384", "ES384"), wildcard_types=frozenset({"Goal"})
    )

    capabilities = ["client-confidential-asymmetric", "permission-v1", "permission-v2"]
    assert document == {**COMMON, "capabilities": capabilities}


def test_authorization_server_metadata_has_issuer_keys_and_response_types() -> None:
    """RFC 8414 section 2."""
    document = metadata.authorization_server(
        ENDPOINTS,
        algorithms=("RS384", "ES384"),
        wildcard_types=frozenset({"Goal"}),
        signing_algorithm="RS256",
    )

    ours = {"issuer": ISSUER, "jwks_uri": "https://auth.example/.well-known/jwks.json", "response_types_supported": []}
    assert document == {**COMMON, **ours, "introspection_signing_alg_values_supported": ["RS256"]}


def test_a_kept_wildcard_is_the_only_example_of_a_type() -> None:
    assert metadata.scopes_supported(None) == ["system/*.read", "system/*.rs", "__introspect"]
