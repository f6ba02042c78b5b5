"""Turn the Authorization header, or an API key, into a Caller, by asking introspection (RFC 6750, RFC 7662).

Built on Authlib's resource protector and introspection validator; what they leave open is checked here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from authlib.oauth2 import OAuth2Error, ResourceProtector  # type: ignore[import-untyped]
from authlib.oauth2.rfc6750 import InvalidTokenError  # type: ignore[import-untyped]
from authlib.oauth2.rfc7662 import IntrospectTokenValidator  # type: ignore[import-untyped]

from authserver.errors import BadRequest, InvalidToken, TokenRequired
from authserver.fhir.access import Caller
from authserver.fhir.introspection import Introspection, IntrospectionAnswer, RequestDescription
from authserver.protocol import api_key, scopes

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
_DECISION_ID = re.compile(r"[A-Za-z0-9\-]{8,64}", re.ASCII)
_MAX_TOKEN_LENGTH = 8_192


class BearerAuthentication:
    """Knows whom to ask about tokens, who must have issued them, and for whom (`audience`: our base URL)."""

    def __init__(self, introspection: Introspection, *, issuer: str, audience: str) -> None:
        self._introspection = introspection
        self._issuer = issuer
        self._audience = audience

    def caller(self, authorization: Sequence[str], request: RequestDescription, *, now: int) -> Caller:
        """Return the caller; `authorization` are the values of all Authorization headers, `now` epoch seconds.

        Raises TokenRequired, InvalidToken, BadRequest (more than one header, no token syntax) and
        IntrospectionUnavailable.
        """
        _check_syntax(authorization)

        def introspect(token: str) -> IntrospectionAnswer:
            return self._introspection.introspect(token, request)

        protector = ResourceProtector()
        protector.register_token_validator(_Validator(introspect, self._check, now=now))
        try:
            answer = protector.validate_request(None, _Headers({"Authorization": authorization[0]}))
        except InvalidTokenError:
            raise InvalidToken(detail="introspection says not active") from None
        except OAuth2Error:
            # No header, or another scheme than Bearer: RFC 6750 section 3.1 wants no error code then.
            raise TokenRequired from None
        return _caller(answer)

    def _check(self, answer: IntrospectionAnswer, now: int) -> None:
        """Raise InvalidToken unless the token is one of our issuer, for us, of type Bearer, and still valid."""
        audience, expires_at, kind = answer.get("aud"), answer.get("exp"), answer.get("token_type")
        named = [audience] if isinstance(audience, str) else audience
        for fits, problem in (
            (answer.get("iss") == self._issuer, "iss"),
            (isinstance(named, list) and self._audience in named, "aud"),
            (isinstance(kind, str) and kind.lower() == "bearer", "token_type"),
            (type(expires_at) is int and expires_at > now, "exp"),
            (_is_name(answer.get("client_id")), "client_id"),
            (_is_name(answer.get("jti")), "jti"),
            (isinstance(answer.get("scope", ""), str), "scope"),
            (isinstance(answer.get("tenant", ""), str), "tenant"),
        ):
            if not fits:
                raise InvalidToken(detail=f"{problem} does not fit")


@dataclass(frozen=True, slots=True)
class _Headers:
    """What Authlib's resource protector reads of a request."""

    headers: Mapping[str, str]


class _Validator(IntrospectTokenValidator):  # type: ignore[misc] # Authlib has no types
    """Authlib's introspection validator for one request."""

    def __init__(
        self,
        introspect: Callable[[str], IntrospectionAnswer],
        check: Callable[[IntrospectionAnswer, int], None],
        *,
        now: int,
    ) -> None:
        super().__init__(realm="fhir")
        self._introspect = introspect
        self._check = check
        self._now = now

    def introspect_token(self, token_string: str) -> IntrospectionAnswer:
        return self._introspect(token_string)

    def validate_token(self, token: IntrospectionAnswer, scopes: Sequence[str] | None, request: object) -> None:
        # Authlib asks whether active is truthy; only True is.
        if token.get("active") is not True:
            raise InvalidTokenError(realm=self.realm)
        super().validate_token(token, scopes, request)
        self._check(token, self._now)


def credentials(authorization: Sequence[str], api_keys: Sequence[str]) -> Sequence[str]:
    """Return the values of Authorization headers, an API key of `x-api-key` as the Bearer token that it is as good as.

    Raises BadRequest for several credentials, InvalidToken for a key of the wrong shape.
    """
    if not api_keys:
        return authorization
    if authorization or len(api_keys) > 1 or "," in api_keys[0]:
        raise BadRequest("There must be one kind of credentials.", reason="several_credentials")
    if api_key.read(api_keys[0]) is None:
        raise InvalidToken(api_key.SENTENCES["api_key_format"], detail="x-api-key", reason="api_key_format")
    return [f"Bearer {api_keys[0]}"]


def _check_syntax(authorization: Sequence[str]) -> None:
    if not authorization:
        raise TokenRequired
    # A server may join repeated headers with a comma, which no Bearer credentials contain.
    if len(authorization) > 1 or "," in authorization[0]:
        raise BadRequest(detail="more than one Authorization header")
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() == "bearer" and (len(token) > _MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token)):
        raise BadRequest(detail="the Bearer credentials are malformed")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _caller(answer: IntrospectionAnswer) -> Caller:
    decision = answer.get("policy_decision")
    expires_at = answer["exp"]
    assert isinstance(expires_at, int)
    return Caller(
        client_id=str(answer["client_id"]),
        scopes=scopes.parse_granted(str(answer.get("scope", ""))),
        tenant=str(answer.get("tenant", "")),
        token_id=str(answer["jti"]),
        expires_at=expires_at,
        policy_allows=isinstance(decision, Mapping) and decision.get("allowed") is True,
        decision_id=_decision_id(decision),
    )


def _decision_id(decision: object) -> str:
    """Return the id of a refusal's record, if it can be one: it becomes a header."""
    named = decision.get("decision") if isinstance(decision, Mapping) else None
    return named if isinstance(named, str) and _DECISION_ID.fullmatch(named) else ""
