"""Every error that this package raises, in one tree.

AuthServerError
├── OAuthError          the paths below /auth
│   ├── InvalidRequest  UnauthorizedClient  UnsupportedGrantType  InvalidScope  InvalidTarget  InvalidClientMetadata
│   └── InvalidClient   InvalidJws  InvalidClientCredentials
├── ResourceError       Client, AccessPolicy and FHIR resources
│   ├── BadRequest  NotSupported  InvalidResource  NotFound  VersionConflict
│   └── LoginRequired  TokenRequired  InvalidToken  Forbidden  InsufficientScope
├── ProtocolError       the request as HTTP, before any path's own rules
│   └── MethodNotAllowed  UnsupportedMediaType  ContentTooLarge  BodyTooSlow  TooManyRequests  NonCanonicalPath
├── Unavailable         a dependency gave no answer, so the answer is no
│   └── JwksUnavailable  StorageUnavailable  IntrospectionUnavailable
└── UnexpectedError     anything nobody foresaw

An error has two sides. `public` is safe for the wire: a constant, or made from a closed set of words. `detail` and
`reason`, a stable code for each cause, are for the log, where an operator finds them by the request id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

BASIC_CHALLENGE = 'Basic realm="authserver", charset="UTF-8"'
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding: where (`expression`, a FHIRPath), what (`diagnostics`), which kind (`code`, FHIR's issue-type)."""

    expression: str
    diagnostics: str
    code: str = "invalid"
    severity: str = "error"


class AuthServerError(Exception):
    """The root. `headers` are what the answer must carry beside the body; `retry_after` is in seconds."""

    status: ClassVar[int] = 500
    oauth_code: ClassVar[str] = "server_error"
    issue_code: ClassVar[str] = "exception"
    default_public: ClassVar[str] = "The server could not answer."
    default_reason: ClassVar[str] = "unexpected"
    challenge: ClassVar[str | None] = None
    retry_after: ClassVar[int | None] = None

    def __init__(
        self, public: str | None = None, *, detail: str = "", reason: str | None = None, headers: Headers | None = None
    ) -> None:
        self.public = public or self.default_public
        self.detail = detail
        self.reason = reason or self.default_reason
        self.client_id: str | None = None  # whom it is about, proven or only claimed; for the log and the receipt
        self.recorded = False  # in the audit already, with the claim that it came of
        fixed = {"WWW-Authenticate": self.challenge, "Retry-After": self.retry_after}
        self.headers = {n: str(v) for n, v in {**fixed, **(headers or {})}.items() if v is not None}
        super().__init__(f"{self.reason}: {detail}" if detail else self.public)

    def issues(self) -> tuple[Issue, ...]:
        """Return what an OperationOutcome says of this error; at least one entry."""
        return (Issue("", self.public, self.issue_code),)


class UnexpectedError(AuthServerError):
    """Something nobody foresaw. The trace is logged, never shown."""


class OAuthError(AuthServerError):
    """An error of RFC 6749 section 5.2."""

    status = 400


class InvalidRequest(OAuthError):
    """The request has the wrong shape; told before any client is looked up."""

    oauth_code, issue_code, default_reason = "invalid_request", "invalid", "malformed_request"
    default_public = "The request is malformed."


class InvalidClient(OAuthError):
    """The client did not prove who it is: one sentence for every cause, for strangers (RFC 7521 section 4.2.1)."""

    oauth_code, issue_code, default_reason = "invalid_client", "login", "client_not_authenticated"
    default_public = "Client authentication failed."


class InvalidJws(InvalidClient):
    """A compact JWS is malformed, or its signature is not the key's."""

    default_reason = "jws_malformed"


class InvalidClientCredentials(InvalidClient):
    """As InvalidClient, where the caller used the Authorization header (RFC 6749 section 5.2: 401)."""

    status, challenge = 401, BASIC_CHALLENGE


class UnauthorizedClient(OAuthError):
    """A proven client asked for a grant that its registration does not list."""

    oauth_code, issue_code, default_reason = "unauthorized_client", "forbidden", "grant_not_registered"
    default_public = "This client is not registered for this grant type."


class UnsupportedGrantType(OAuthError):
    """The grant type is not one that this server has."""

    oauth_code, issue_code, default_reason = "unsupported_grant_type", "not-supported", "unknown_grant_type"
    default_public = "The only supported grant_type is client_credentials."


class InvalidScope(OAuthError):
    """The scope is malformed, or nothing of it can be granted to this client."""

    oauth_code, issue_code, default_reason = "invalid_scope", "forbidden", "nothing_granted"
    default_public = "None of the requested scopes can be granted to this client."


class InvalidTarget(OAuthError):
    """The `resource` asked for is not one that this client's tokens may be for (RFC 8707 section 2)."""

    oauth_code, issue_code, default_reason = "invalid_target", "forbidden", "resource_not_registered"
    default_public = "The requested resource is not one that this client's tokens are for."


class InvalidClientMetadata(OAuthError):
    """A registration asks for what this server has not, or not for this caller (RFC 7591 section 3.2.2)."""

    oauth_code, issue_code, default_reason = "invalid_client_metadata", "invalid", "client_metadata"
    default_public = "The client metadata must be one JSON object with no member twice."


class ResourceError(AuthServerError):
    """An error of the resource paths, answered as an OperationOutcome."""

    status, oauth_code = 400, "invalid_request"


class BadRequest(ResourceError):
    """The request cannot be understood: bad JSON, a bad parameter."""

    issue_code, default_reason, default_public = "invalid", "malformed_request", "The request is malformed."


class NotSupported(ResourceError):
    """The request is understood, but this server does not do it."""

    issue_code, default_reason = "not-supported", "not_supported"
    default_public = "This server does not support the request."


class InvalidResource(ResourceError):
    """The body is not a valid resource; every finding is listed. Nothing was stored."""

    status, issue_code, default_reason = 422, "invalid", "invalid_resource"
    default_public = "The resource is not valid."

    def __init__(self, findings: tuple[Issue, ...], *, detail: str = "") -> None:
        self.findings = findings
        super().__init__(detail=detail or "; ".join(f"{i.expression}: {i.diagnostics}" for i in findings))

    def issues(self) -> tuple[Issue, ...]:
        """Return every finding."""
        return self.findings


class NotFound(ResourceError):
    """There is no such resource, or none that this caller may know of: the same bytes for both."""

    status, issue_code, default_reason, default_public = 404, "not-found", "not_found", "There is no such resource."


class VersionConflict(ResourceError):
    """The precondition (If-Match) names another version than the stored one."""

    status, issue_code, default_reason = 412, "conflict", "version_conflict"
    default_public = "The stored version is not the one named by If-Match."


class LoginRequired(ResourceError):
    """No credentials, or credentials that prove nobody."""

    status, oauth_code, issue_code, default_reason = 401, "invalid_client", "login", "login_required"
    default_public = "Authentication is required."
    challenge = f'{BASIC_CHALLENGE}, Bearer realm="authserver"'


class TokenRequired(ResourceError):
    """The FHIR layer was asked without an access token (RFC 6750 section 3: no error code then)."""

    status, oauth_code, issue_code, default_reason = 401, "invalid_token", "login", "token_required"
    default_public = "An access token is required."
    challenge = 'Bearer realm="fhir"'


class InvalidToken(ResourceError):
    """The access token is not active here; one text for every cause (RFC 6750 section 3.1)."""

    status, oauth_code, issue_code, default_reason = 401, "invalid_token", "login", "token_not_active"
    default_public = "The access token is not active."
    challenge = 'Bearer realm="fhir", error="invalid_token"'


class Forbidden(ResourceError):
    """The caller is known and may not do this; no hint which rule said no."""

    status, oauth_code, issue_code, default_reason = 403, "access_denied", "forbidden", "policy_denied"
    default_public = "Forbidden."


class InsufficientScope(Forbidden):
    """The token's scopes do not cover the interaction (RFC 6750 section 3.1); `scope` names what would."""

    default_reason = oauth_code = "insufficient_scope"

    def __init__(self, scope: str, *, detail: str = "") -> None:
        public = f"The access token's scope does not allow this; needed: {scope}."
        challenge = f'Bearer realm="fhir", error="insufficient_scope", scope="{scope}"'
        super().__init__(public, detail=detail, headers={"WWW-Authenticate": challenge})


class ProtocolError(AuthServerError):
    """The request is wrong as HTTP, whatever its path would make of it."""

    status, oauth_code, issue_code = 400, "invalid_request", "invalid"


class NonCanonicalPath(ProtocolError):
    """The path has a second spelling, so a policy and a router could read it differently."""

    default_reason, default_public = "non_canonical_path", "The path is not in canonical form."


class MethodNotAllowed(ProtocolError):
    """The path exists, with other methods; `allow` is the value of the Allow header."""

    status, issue_code, default_reason = 405, "not-supported", "method_not_allowed"
    default_public = "This method is not allowed here."

    def __init__(self, allow: str) -> None:
        super().__init__(headers={"Allow": allow})


class UnsupportedMediaType(ProtocolError):
    """The body's media type is not one that the path takes."""

    status, issue_code, default_reason = 415, "not-supported", "media_type"
    default_public = "The Content-Type must be application/json or application/fhir+json."


class ContentTooLarge(ProtocolError):
    """The body is larger than the path takes."""

    status, issue_code, default_reason = 413, "too-long", "content_too_large"
    default_public = "The request body is too large."


class BodyTooSlow(ProtocolError):
    """The body was not there in the time that a request has for it."""

    status, issue_code, default_reason = 408, "timeout", "body_too_slow"
    default_public = "The request body came too slowly."


class TooManyRequests(ProtocolError):
    """The caller asks too often. RFC 6749 has no code for that; `slow_down` is RFC 8628's (section 3.5)."""

    status, oauth_code, issue_code, retry_after = 429, "slow_down", "throttled", 60
    default_reason, default_public = "too_many_requests", "Too many requests; try again later."


class Unavailable(AuthServerError):
    """A dependency did not answer, so nothing is allowed; never says which one."""

    status, oauth_code, issue_code, default_reason = 503, "temporarily_unavailable", "transient", "unavailable"
    default_public = "The server cannot answer now; try again with a new assertion."
    retry_after = 1


class JwksUnavailable(Unavailable):
    """A client's key set could not be had. While authenticating it becomes InvalidClient."""

    default_reason = "jwks_unavailable"


class StorageUnavailable(Unavailable):
    """The database did not answer."""

    default_reason = "storage_unavailable"


class IntrospectionUnavailable(Unavailable):
    """The authorization server gave no answer about a token."""

    default_reason, default_public = "introspection_unavailable", "The access token could not be checked; try again."
