"""The metadata by which a client registers itself (RFC 7591 section 2), as our Client resource and back. PURE."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authserver.errors import InvalidClientMetadata, InvalidResource, InvalidScope, Issue
from authserver.protocol import scopes
from authserver.protocol.client import Client
from authserver.protocol.token_request import CLIENT_CREDENTIALS

PRIVATE_KEY_JWT = "private_key_jwt"
# RFC 6749 section 5.2: what error_description may consist of.
_NOT_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_KEPT = ("jwks", "jwks_uri", "token_endpoint_auth_signing_alg")
_MAX_DESCRIPTION = 1_000


class _Metadata(BaseModel):
    """What we read; anything else is ignored (RFC 7591 section 2). Absent members get our own values, not the RFC's:
    this server has no other grant and no other method."""

    model_config = ConfigDict(strict=True, extra="ignore")

    client_name: str | None = Field(default=None, max_length=200)
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = Field(default=None, max_length=2_000)
    grant_types: list[str] = Field(default=[CLIENT_CREDENTIALS])
    response_types: list[str] = Field(default_factory=list)
    token_endpoint_auth_method: str = PRIVATE_KEY_JWT
    token_endpoint_auth_signing_alg: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """Metadata that this server can register; `scope` holds the tokens as sent."""

    name: str | None
    scope: tuple[str, ...]
    proof: Mapping[str, Any]


def parse(body: Mapping[str, Any], *, registrar: Client) -> ClientMetadata:
    """Read the metadata; `registrar` is the client whose initial access token was sent.

    Raises InvalidClientMetadata with every finding: what this server has not, no keys, or a scope that the
    registrar may not hand out (its `registration_scope`).
    """
    try:
        read = _Metadata.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise _invalid((".".join(map(str, one["loc"])), one["msg"]) for one in found) from error
    findings = [*_unsupported(read), *_scope_findings(read.scope, registrar)]
    if findings:
        raise _invalid(findings)
    proof = {name: value for name in _KEPT if (value := getattr(read, name)) is not None}
    return ClientMetadata(read.client_name, tuple((read.scope or "").split(" ")), proof)


def to_resource(metadata: ClientMetadata, *, registrar: Client, active: bool) -> dict[str, Any]:
    """Return the Client resource. It is of the registrar's tenant, and says who registered it."""
    optional = {"name": metadata.name, "tenant": registrar.tenant}
    return {
        "active": active,
        "grant_types": [CLIENT_CREDENTIALS],
        "scope": list(metadata.scope),
        **metadata.proof,
        **{name: value for name, value in optional.items() if value is not None},
        "details": {"registered_by": registrar.id},
    }


def response(metadata: ClientMetadata, *, client_id: str, issued_at: int) -> dict[str, Any]:
    """Return the client information response (RFC 7591 section 3.2.1); `issued_at` in epoch seconds."""
    named = {} if metadata.name is None else {"client_name": metadata.name}
    return {
        "client_id": client_id,
        "client_id_issued_at": issued_at,
        **named,
        **metadata.proof,
        "grant_types": [CLIENT_CREDENTIALS],
        "response_types": [],
        "scope": " ".join(metadata.scope),
        "token_endpoint_auth_method": PRIVATE_KEY_JWT,
    }


def refused(error: InvalidResource) -> InvalidClientMetadata:
    """Return what the rules of our Client resource found, in the words of RFC 7591 section 3.2.2."""
    return _invalid((issue.expression.removeprefix("Client."), issue.diagnostics) for issue in error.findings)


def _unsupported(read: _Metadata) -> Iterable[tuple[str, str]]:
    if read.grant_types != [CLIENT_CREDENTIALS]:
        yield "grant_types", f"this server has {CLIENT_CREDENTIALS} alone"
    if read.response_types:
        yield "response_types", "this server has none"
    if read.token_endpoint_auth_method != PRIVATE_KEY_JWT:
        yield "token_endpoint_auth_method", f"this server has {PRIVATE_KEY_JWT} alone"
    if read.jwks is None and read.jwks_uri is None:
        yield "jwks", "jwks or jwks_uri is needed"
    if read.jwks is not None and read.jwks_uri is not None:
        yield "jwks", "jwks and jwks_uri must not both be present"


def _scope_findings(scope: str | None, registrar: Client) -> Iterable[tuple[str, str]]:
    if not scope:
        yield "scope", "is needed: this server has no default"
        return
    try:
        asked = scopes.parse_set(scope)
    except InvalidScope:
        yield "scope", "is no list of SMART scopes"
        return
    # Without expansion: whoever asks for every type needs a registrar that may hand out every type.
    if not scopes.within(asked, registrar.registration_scope, wildcard_types=None):
        yield "scope", "goes beyond what the initial access token may hand out"


def _invalid(findings: Iterable[tuple[str, str]]) -> InvalidClientMetadata:
    found = [Issue(member, diagnostics) for member, diagnostics in findings]
    sentence = "; ".join(f"{issue.expression}: {issue.diagnostics}" for issue in found)
    return InvalidClientMetadata(_NOT_DESCRIPTION.sub("'", sentence)[:_MAX_DESCRIPTION], detail=sentence)
