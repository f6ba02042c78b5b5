"""What a valid registration may still lack: warnings for its author, no refusal. PURE."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from authserver.errors import Issue
from authserver.protocol.client import BASIC, KNOWN_MEMBERS, Client
from authserver.protocol.jwks import JwkSet
from authserver.protocol.key_findings import findings
from authserver.protocol.token_request import CLIENT_CREDENTIALS

_WITHOUT_EFFECT = frozenset(
    "scopes allowed-scopes smart allowedIssuers allowed_origins first_party trusted fhir-base-url".split()
)
"""Documented attributes of a Client that nothing here looks at."""

_FREE = frozenset({"meta", "details", "name", "description"})


def warning(path: str, diagnostics: str, code: str = "informational") -> Issue:
    """Return a finding that refuses nothing."""
    return Issue(path, diagnostics, code, "warning")


def of_members(body: Mapping[str, Any]) -> Iterator[Issue]:
    """Find members of a Client that are kept and have no effect."""
    known = KNOWN_MEMBERS - _WITHOUT_EFFECT | _FREE
    for name in body:
        if name in known:
            continue
        close = get_close_matches(name, sorted(known), n=1)
        hint = f"; did you mean {close[0]}?" if close and name not in _WITHOUT_EFFECT else ""
        yield warning(f"Client.{name}", f"kept and returned, without effect on this server{hint}")
    auth = body.get("auth")
    for name in auth if isinstance(auth, dict) else ():
        if name != CLIENT_CREDENTIALS:
            yield warning(f"Client.auth.{name}", "this server has no such grant, so it has no effect")


def of_client(client: Client, *, has_secret: bool) -> Iterator[Issue]:
    """Find what keeps a valid client from working."""
    if not client.active:
        yield warning("Client.active", "an inactive client gets no token, and those that it has are dead")
    if not client.grant_types:
        yield warning("Client.grant_types", "without a grant type the client can do nothing")
    if CLIENT_CREDENTIALS in client.grant_types:
        if client.jwks is None and client.jwks_uri is None:
            yield warning("Client.jwks_uri", "without jwks_uri or jwks the client cannot prove itself")
        if not client.scope.resources and not client.scope.names:
            yield warning("Client.scope", "without a scope nothing can be granted to the client")
    if BASIC in client.grant_types and not has_secret:
        yield warning("Client.secret", "without a secret the client cannot use HTTP Basic")


def of_keys(client: Client, keys: JwkSet, path: str) -> Iterator[Issue]:
    """Find the keys that verify nothing, and the want of any that does."""
    found = findings(keys, client.algorithms)
    for key in found:
        if not key["usable"]:
            yield warning(path, f"the key {key['kid'] or 'without kid'} verifies nothing: {key['finding']}")
    if not any(key["usable"] for key in found):
        yield warning(path, "no key of the set can prove the client")
