"""The registered Client: what its JSON must look like, and the value that authentication works with.

Shape as the documented Client resource; what this server does not do is refused, not ignored.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authserver.errors import InvalidClient, InvalidResource, Issue
from authserver.protocol import jose, jwks_url, registered_scopes
from authserver.protocol.jwks import JwkSet, parse_keys
from authserver.protocol.jwks_url import JwksUrlRules, UnsafeJwksUrl
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.scopes import ScopeSet
from authserver.protocol.token_request import CLIENT_CREDENTIALS, JWT_BEARER

BASIC = "basic"
RESOURCE_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
DEFAULT_TOKEN_LIFETIME, MIN_SECRET_LENGTH = 300, 8


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What the operator's settings say about registrations.

    `max_token_lifetime` in seconds; `jwks_urls` says which addresses this server would ever fetch.
    """

    jwks_urls: JwksUrlRules = field(default_factory=JwksUrlRules)
    max_token_lifetime: int = DEFAULT_TOKEN_LIFETIME
    algorithms: tuple[str, ...] = jose.DEFAULT_ALGORITHMS
    keys: KeyRules = field(default_factory=KeyRules)
    min_secret_length: int = MIN_SECRET_LENGTH


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client, compiled. `generation` is the life of its id: registered anew, it is another client.

    `token_generation` is what its access tokens carry: with the next one the former tokens are dead.
    `changed_at` (microseconds since the epoch) is the moment of the stored version: keys fetched before count no more.
    `resource` is the registration as its owner wrote it, without the secret: policies may look at any member of it.
    """

    id: str
    generation: int
    active: bool
    grant_types: frozenset[str]
    scope: ScopeSet
    assertion_types: frozenset[str]
    token_lifetime: int
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks_uri: str | None
    jwks: JwkSet | None
    tenant: str | None = None
    issuer_audience_only: bool = False
    strict_scope: bool = False
    secret_hash: str | None = field(default=None, repr=False)
    token_generation: int = 1
    changed_at: int = 0
    introspection_audience: frozenset[str] = frozenset()
    registration_scope: ScopeSet = field(default_factory=ScopeSet)
    resource: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class _Open(BaseModel):
    """Strict about what it knows; keeps what it does not."""

    model_config = ConfigDict(strict=True, extra="allow")


class _ClientCredentials(_Open):
    client_assertion_types: list[Literal["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]] | None = None
    access_token_expiration: int | None = None
    token_format: Literal["jwt"] | None = None
    refresh_token: bool | None = None
    refresh_token_expiration: int | None = None
    audience: list[str] | None = None


class _Auth(_Open):
    client_credentials: _ClientCredentials = Field(default_factory=_ClientCredentials)


class _Registration(_Open):
    resourceType: Literal["Client"] | None = None  # noqa: N815 -- FHIR's spelling
    id: str | None = None
    type: str | None = None
    active: bool | None = None
    name: str | None = None
    description: str | None = None
    secret: str | None = Field(default=None, min_length=1, max_length=256)
    grant_types: list[str] = Field(default_factory=list)
    auth: _Auth = Field(default_factory=_Auth)
    scope: list[str] = Field(default_factory=list)
    jwks: list[dict[str, Any]] | dict[str, Any] | None = None
    jwks_uri: str | None = None
    details: dict[str, Any] | None = None
    first_party: bool | None = None
    trusted: bool | None = None
    tenant: str | None = Field(default=None, pattern=r"^[A-Za-z0-9\-.]{1,64}$")
    token_endpoint_auth_signing_alg: str | list[str] | None = None
    audience_mode: Literal["issuer_only"] | None = None
    scope_mode: Literal["strict"] | None = None
    introspection_audience: str | list[str] | None = None
    registration_scope: list[str] = Field(default_factory=list)


KNOWN_MEMBERS = frozenset(_Registration.model_fields)
"""The members of a Client that this server reads; others are kept and returned."""


def from_resource(
    body: Mapping[str, Any],
    *,
    client_id: str,
    rules: ClientRules,
    generation: int = 1,
    token_generation: int = 1,
    secret_hash: str | None = None,
    changed_at: int = 0,
    stored: bool = False,
) -> Client:
    """Read a Client resource; raises InvalidResource with every finding and its path.

    `stored`: registered before. A key that today's rules refuse is then kept, as refused; the other keys go on working.
    """
    read = _shape(body)
    check = _checked(client_id, read, rules, stored=stored)
    grant = read.auth.client_credentials
    return Client(
        id=client_id,
        generation=generation,
        active=read.active is not False,
        grant_types=frozenset(read.grant_types),
        scope=check.scope,
        assertion_types=_assertion_types(grant),
        token_lifetime=grant.access_token_expiration or min(DEFAULT_TOKEN_LIFETIME, rules.max_token_lifetime),
        audience=tuple(grant.audience or ()),
        algorithms=check.algorithms,
        jwks_uri=read.jwks_uri,
        jwks=check.jwks,
        tenant=read.tenant,
        issuer_audience_only=read.audience_mode is not None,
        strict_scope=read.scope_mode is not None,
        secret_hash=secret_hash,
        token_generation=token_generation,
        changed_at=changed_at,
        introspection_audience=check.introspection_audience,
        registration_scope=check.registration_scope,
        resource={name: value for name, value in body.items() if name not in ("secret", "meta")},
    )


def _checked(client_id: str, read: _Registration, rules: ClientRules, *, stored: bool) -> "_Checks":
    check = _Checks(client_id, read, rules, stored=stored)
    if check.issues:
        raise InvalidResource(tuple(check.issues))
    return check


def _shape(body: Mapping[str, Any]) -> _Registration:
    try:
        return _Registration.model_validate(body)
    except ValidationError as error:
        raise InvalidResource(shape_issues("Client", error)) from error


def _assertion_types(grant: _ClientCredentials) -> frozenset[str]:
    types = grant.client_assertion_types
    return frozenset({JWT_BEARER} if types is None else types)


def shape_issues(resource_type: str, error: ValidationError) -> tuple[Issue, ...]:
    """Translate pydantic's findings: `loc` becomes a FHIRPath, the text names no value."""
    return tuple(
        Issue(_path(resource_type, found["loc"]), found["msg"], "structure")
        for found in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _path(resource_type: str, location: tuple[int | str, ...]) -> str:
    # Members of a union appear in pydantic's location as the type's own spelling; they are no part of the path.
    parts = [part for part in location if isinstance(part, int) or ("[" not in part and part not in ("str", "dict"))]
    return resource_type + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


class _Checks:
    """The rules that look at more than one member's shape. Collects every finding."""

    def __init__(self, client_id: str, read: _Registration, rules: ClientRules, *, stored: bool) -> None:
        self.issues: list[Issue] = []
        self._read, self._rules, self._stored = read, rules, stored
        if read.secret is not None and len(read.secret) < rules.min_secret_length:
            self._found("secret", f"must have at least {rules.min_secret_length} characters")
        if read.id not in (None, "", client_id):
            self._found("id", "the id in the body is not the id in the path")
        self.scope = self._scope("scope", read.scope)
        self.registration_scope = self._scope("registration_scope", read.registration_scope)
        self.introspection_audience = self._introspection_audience()
        self.algorithms = self._algorithms()
        self.jwks = self._keys()
        self._grant_types()
        self._token_lifetime()

    def _found(self, path: str, diagnostics: str, code: str = "value") -> None:
        self.issues.append(Issue(f"Client.{path}", diagnostics, code))

    def _grant_types(self) -> None:
        for index, grant_type in enumerate(self._read.grant_types):
            if grant_type not in (CLIENT_CREDENTIALS, BASIC):
                self._found(f"grant_types[{index}]", "this server has no such grant", "not-supported")

    def _token_lifetime(self) -> None:
        grant, path = self._read.auth.client_credentials, "auth.client_credentials"
        limit = self._rules.max_token_lifetime
        if grant.access_token_expiration is not None and not 1 <= grant.access_token_expiration <= limit:
            self._found(f"{path}.access_token_expiration", f"must be 1 to {limit} seconds")
        if grant.refresh_token:
            self._found(f"{path}.refresh_token", "this server issues no refresh tokens", "not-supported")

    def _introspection_audience(self) -> frozenset[str]:
        named = self._read.introspection_audience
        audiences = [named] if isinstance(named, str) else named or []
        if named is not None and not all(audiences or [""]):
            # An empty limit would be none, so it is refused rather than read as "everything".
            self._found("introspection_audience", "must name at least one audience")
        return frozenset(audiences)

    def _scope(self, path: str, registered: list[str]) -> ScopeSet:
        read, faults = registered_scopes.read(tuple(registered))
        for index, diagnostics in faults:
            self._found(f"{path}[{index}]", diagnostics)
        return read

    def _algorithms(self) -> tuple[str, ...]:
        named = self._read.token_endpoint_auth_signing_alg
        if named is None:
            return self._rules.algorithms
        names = [named] if isinstance(named, str) else named
        if not names or any(name not in self._rules.algorithms for name in names):
            known = ", ".join(self._rules.algorithms)
            self._found("token_endpoint_auth_signing_alg", f"must be of {known}", "not-supported")
        return tuple(names)

    def _keys(self) -> JwkSet | None:
        jwks, uri = self._read.jwks, self._read.jwks_uri
        if jwks is not None and uri is not None:
            # RFC 7591 section 2: both together are refused.
            self._found("jwks", "jwks and jwks_uri must not both be present", "business-rule")
            return None
        if uri is not None:
            self._jwks_uri(uri)
        return None if jwks is None else self._inline_keys(jwks)

    def _jwks_uri(self, uri: str) -> None:
        try:
            jwks_url.check(uri, rules=self._rules.jwks_urls)
        except UnsafeJwksUrl as error:
            self._found("jwks_uri", error.sentence)

    def _inline_keys(self, jwks: list[dict[str, Any]] | dict[str, Any]) -> JwkSet | None:
        path, keys = ("jwks", jwks) if isinstance(jwks, list) else ("jwks.keys", jwks.get("keys"))
        if not isinstance(keys, list) or not keys:
            self._found(path, "must be a list of at least one key")
            return None
        try:
            read = parse_keys(keys, rules=self._rules.keys)
        except InvalidClient as error:
            self._found(path, error.detail)
            return None
        for refused in () if self._stored else read.refused:
            self._found(f"{path}[{refused.index}]", refused.message)
        self._kids(path, read)
        return read

    def _kids(self, path: str, read: JwkSet) -> None:
        named = Counter((key.kid, key.kty) for key in read.keys)
        if any(kid is None for kid, _ in named):
            self._found(path, "every key must have a kid")
        # SMART: an assertion whose kid names more than one key fails, so such keys could never be used.
        if any(times > 1 for (kid, _), times in named.items() if kid is not None):
            self._found(path, "two keys of one kty must not have the same kid")
