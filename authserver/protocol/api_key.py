"""API keys: their shape, what a stored one is, when it is good, and the claims that it stands for like a token.

A key is `clk_ENVIRONMENT_` and 50 letters and digits: 12 that name it, 32 that are the secret, 6 that are a checksum of
all before them, so that a key with a slip in it is known for what it is without a look into the database.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authserver.errors import InvalidResource, InvalidScope, Issue
from authserver.protocol import scopes
from authserver.protocol.client import Client, shape_issues
from authserver.protocol.scopes import ScopeSet

PREFIX = "clk_"
TEST, LIVE = "test", "live"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 12
SECRET_LENGTH = 32
"""Characters of a secret: 32 of 62 kinds are 190 bits."""

CHECKSUM_LENGTH = 6
WORDS: Mapping[str, str] = {"read": "system/*.rs", "write": "system/*.cud", "*": "system/*.cruds"}
"""The short words for scopes of a key (ClinikAPI), and what they mean."""

SENTENCES: Mapping[str, str] = {
    "api_key_format": "The API key has the wrong shape.",
    "api_key_revoked": "The API key was revoked.",
    "api_key_expired": "The API key has expired.",
}
"""What the holder of a key is told by its refusal's reason; of every other reason it is told UNKNOWN alone."""

UNKNOWN = "The API key is not known."
_SHAPE = re.compile(rf"clk_(test|live)_([0-9A-Za-z]{{{ID_LENGTH}}})[0-9A-Za-z]{{{SECRET_LENGTH}}}([0-9A-Za-z]{{6}})")
_TEST_TENANT = "~test"  # no tenant of a Client can end so, see its pattern


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key of the right shape, as somebody sent it, proven by nothing yet. `digest` is what would be stored of it."""

    id: str
    environment: str
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key. Times are epoch seconds; `client_generation` is the life of the client id that it belongs to.

    `version` grows with each change of the key, its rotation too; `digest` is of the present secret's whole key.
    """

    id: str
    version: int
    client_id: str
    client_generation: int
    environment: str
    scope: ScopeSet
    issued_at: int
    expires_at: int
    revoked: bool
    digest: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What an operator asks for: a key of this client; `days` (of validity) None for the longest."""

    client_id: str
    environment: str
    scope: tuple[str, ...]
    name: str | None
    days: int | None


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    resourceType: Literal["ApiKey"] | None = None  # noqa: N815 -- FHIR's spelling
    client: str
    environment: Literal["test", "live"]
    scope: list[str] = Field(min_length=1, max_length=100)
    name: str | None = Field(default=None, max_length=200)
    days: int | None = Field(default=None, ge=1)


def compose(environment: str, key_id: str, secret: str) -> str:
    """Return the key as its holder gets it."""
    body = f"{PREFIX}{environment}_{key_id}{secret}"
    return body + _checksum(body)


def is_meant(text: str) -> bool:
    """Say whether somebody means this to be an API key, well-formed or not; no access token begins so."""
    return text.startswith(PREFIX)


def read(text: str) -> PresentedKey | None:
    """Return the key of this text; None when its shape or its checksum is wrong."""
    match = _SHAPE.fullmatch(text)
    if match is None or _checksum(text[:-CHECKSUM_LENGTH]) != match[3]:
        return None
    return PresentedKey(match[2], match[1], digest(text))


def digest(text: str) -> str:
    """Return what is stored of a key.

    Plain SHA-256 is right here: the secret is 190 random bits, so there is no dictionary to try, which a slow hash
    would be against, and a key is checked with every request.
    """
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_request(body: Mapping[str, Any], *, max_days: int) -> KeyRequest:
    """Read what an operator asks for; raises InvalidResource with every finding and its path."""
    try:
        asked = _Asked.model_validate(body)
    except ValidationError as error:
        raise InvalidResource(shape_issues("ApiKey", error)) from error
    if asked.days is not None and asked.days > max_days:
        raise InvalidResource((Issue("ApiKey.days", f"must be 1 to {max_days} days", "value"),))
    return KeyRequest(asked.client, asked.environment, tuple(asked.scope), asked.name, asked.days)


def check_scope(asked: tuple[str, ...], client: Client, *, wildcard_types: frozenset[str] | None) -> tuple[str, ...]:
    """Return the scopes in SMART's words; raises InvalidResource for each that the client did not register."""
    found, issues = [], []
    for index, text in enumerate(asked):
        spelled = WORDS.get(text, text)
        try:
            fits = scopes.within(scopes.parse_set(spelled), client.scope, wildcard_types=wildcard_types)
            problem = None if fits else "goes beyond the scopes that the client registered"
        except InvalidScope:
            problem = "not a SMART scope, nor read, write or *"
        if problem is not None:
            issues.append(Issue(f"ApiKey.scope[{index}]", problem, "value"))
        found.append(spelled)
    if issues:
        raise InvalidResource(tuple(issues))
    return tuple(found)


def from_stored(body: Mapping[str, Any], *, key_id: str, version: int, digest: str) -> ApiKey:
    """Return the key that was stored with this body."""
    return ApiKey(
        id=key_id,
        version=version,
        client_id=body["client"],
        client_generation=body["clientGeneration"],
        environment=body["environment"],
        scope=scopes.collect(body["scope"]),
        issued_at=body["issued"],
        expires_at=body["expires"],
        revoked="revoked" in body,
        digest=digest,
    )


def problem(
    presented: PresentedKey | None,
    key: ApiKey | None,
    client: Client | None,
    *,
    wildcard_types: frozenset[str] | None,
    now: int,
) -> str | None:
    """Return the reason for which a key is good for nothing now, None for a good one; `now` in epoch seconds.

    `presented` is None when the shape is wrong, `key` is what is stored under the presented id, `client` whom it names.
    The secret comes before all that is stored: whoever has it not learns nothing else.
    """
    if presented is None:
        return "api_key_format"
    if key is None or key.environment != presented.environment or not compare_digest(presented.digest, key.digest):
        return "api_key_unknown"
    if key.revoked:
        return "api_key_revoked"
    if now >= key.expires_at:
        return "api_key_expired"
    if client is None or not client.active or client.generation != key.client_generation:
        return "api_key_client"
    return None if granted(key, client, wildcard_types=wildcard_types) else "api_key_scope"


def granted(key: ApiKey, client: Client, *, wildcard_types: frozenset[str] | None) -> ScopeSet:
    """Return what of the key's scopes its client still has: a registration that was narrowed narrows its keys."""
    return scopes.grant(key.scope, client.scope, wildcard_types=wildcard_types)


def claims(key: ApiKey, client: Client, *, issuer: str, audience: tuple[str, ...], scope: ScopeSet) -> dict[str, Any]:
    """Return the claims of an access token that would be worth what the key is, with `environment` beside them."""
    stands_for: dict[str, Any] = {
        "iss": issuer,
        "sub": client.id,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "client_id": client.id,
        "scope": str(scope),
        "iat": key.issued_at,
        "exp": key.expires_at,
        "jti": f"{PREFIX}{key.id}.{key.version}",
        "environment": key.environment,
    }
    tenant = tenant_of(client, key.environment)
    return stands_for if tenant is None else stands_for | {"tenant": tenant}


def tenant_of(client: Client, environment: str) -> str | None:
    """Return the tenant that a key reaches: a test key never the one with the live data."""
    return f"{client.tenant or ''}{_TEST_TENANT}" if environment == TEST else client.tenant


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
