"""The discovery documents. Every URL is absolute and made from the configured issuer, never from the Host header."""

from dataclasses import dataclass
from typing import Any

from authserver.protocol.scopes import INTROSPECT
from authserver.protocol.token_request import CLIENT_CREDENTIALS

CAPABILITIES = ("client-confidential-asymmetric", "permission-v1", "permission-v2")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The absolute URLs of this server; `issuer` has no trailing slash."""

    issuer: str

    @property
    def token(self) -> str:
        """The token endpoint."""
        return f"{self.issuer}/auth/token"

    @property
    def introspection(self) -> str:
        """The introspection endpoint (RFC 7662)."""
        return f"{self.issuer}/auth/introspect"

    @property
    def revocation(self) -> str:
        """The revocation endpoint (RFC 7009)."""
        return f"{self.issuer}/auth/revoke"

    @property
    def registration(self) -> str:
        """The registration endpoint (RFC 7591)."""
        return f"{self.issuer}/auth/register"

    @property
    def jwks(self) -> str:
        """Where our public keys are."""
        return f"{self.issuer}/.well-known/jwks.json"


def scopes_supported(wildcard_types: frozenset[str] | None) -> list[str]:
    """Return examples of every kind of scope; the list need not be complete (SMART, metadata)."""
    types = ["*"] if wildcard_types is None else ["*", *sorted(wildcard_types)]
    return [*(f"system/{name}.{word}" for name in types for word in ("read", "rs")), INTROSPECT]


def smart_configuration(
    endpoints: Endpoints, *, algorithms: tuple[str, ...], wildcard_types: frozenset[str] | None
) -> dict[str, Any]:
    """Return the document of SMART App Launch 2.2, "Using Well-Known".

    `issuer` and `jwks_uri` are left out, as the text says for a server without sso-openid-connect.
    """
    return {
        **_common(endpoints, algorithms=algorithms, wildcard_types=wildcard_types),
        "capabilities": list(CAPABILITIES),
    }


def authorization_server(
    endpoints: Endpoints,
    *,
    algorithms: tuple[str, ...],
    wildcard_types: frozenset[str] | None,
    signing_algorithm: str,
) -> dict[str, Any]:
    """Return the document of RFC 8414; `response_types_supported` is required there, and empty: no such flow here.

    `signing_algorithm` is that of our own signatures, on introspection answers too (RFC 9701 section 7).
    """
    return {
        "issuer": endpoints.issuer,
        "jwks_uri": endpoints.jwks,
        **_common(endpoints, algorithms=algorithms, wildcard_types=wildcard_types),
        "response_types_supported": [],
        "introspection_signing_alg_values_supported": [signing_algorithm],
    }


def _common(
    endpoints: Endpoints, *, algorithms: tuple[str, ...], wildcard_types: frozenset[str] | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "token_endpoint": endpoints.token,
        "introspection_endpoint": endpoints.introspection,
        "revocation_endpoint": endpoints.revocation,
        "registration_endpoint": endpoints.registration,
        "grant_types_supported": [CLIENT_CREDENTIALS],
        "scopes_supported": scopes_supported(wildcard_types),
        # SMART demands the member of every server; nothing here uses a code challenge.
        "code_challenge_methods_supported": ["S256"],
    }
    for endpoint, methods in (
        ("token", ["private_key_jwt"]),
        ("introspection", ["client_secret_basic", "private_key_jwt"]),
        ("revocation", ["client_secret_basic", "private_key_jwt"]),
    ):
        document[f"{endpoint}_endpoint_auth_methods_supported"] = methods
        document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = list(algorithms)
    return document
