"""The steps of registering a client with a running server: a key or a secret, the Client, its policy."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from authserver.cli import private_keys
from authserver.cli.failures import Failure
from authserver.cli.first_start import SECRET_BYTES, write_private
from authserver.cli.private_keys import KeyPair
from authserver.cli.remote import Remote, allow_policy, is_only_of
from authserver.errors import InvalidClient
from authserver.protocol.client import BASIC
from authserver.protocol.jwks import JwkSet, parse_document
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.token_request import CLIENT_CREDENTIALS
from authserver.services.ports import ACCESS_POLICY, CLIENT

_FETCH_SECONDS = 5.0
_MAX_JWKS_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Made:
    """What was registered: for a program, and as lines for a person."""

    document: dict[str, Any]
    lines: list[str]


def require_new(remote: Remote, client_id: str) -> None:
    """Raise Failure when there is a client with this id, which registering would overwrite."""
    if remote.find(CLIENT, client_id) is not None:
        raise Failure(f"There is a client {client_id} already; `authserver client delete {client_id}` removes it.")


def with_key(remote: Remote, client_id: str, *, scope: Sequence[str], algorithm: str, path: Path | None) -> Made:
    """Register the client with a new key pair; the private half goes to a file that must not exist yet."""
    pair, file = private_keys.new_key(algorithm), path or private_keys.default_path(client_id)
    try:
        write_private(file, pair.pem)
    except FileExistsError:
        raise Failure(f"{file} exists already: name another file with --out.") from None
    body = _backend_client(scope, jwks={"keys": [pair.public_jwk]}, token_endpoint_auth_signing_alg=algorithm)
    try:
        stored = _register(remote, client_id, body)
    except Failure:
        with suppress(OSError):
            file.unlink()  # a key that nobody knows is only litter
        raise
    document = {"client": stored, "private_key": str(file), "kid": pair.kid}
    return Made(document, _next_steps(remote, client_id, scope=scope, pair=pair, file=file))


def with_jwks_uri(remote: Remote, client_id: str, *, scope: Sequence[str], jwks_uri: str) -> Made:
    """Register the client by the address of its keys, then look which keys are there, as seen from here."""
    stored = _register(remote, client_id, _backend_client(scope, jwks_uri=jwks_uri))
    try:
        keys = _fetch(jwks_uri)
    except Failure as failure:
        note = f"warning: {failure.message}"
        return Made({"client": stored, "keys": None}, [f"{client_id} is registered.", note])
    found = [f"  {key.kid or '(no kid)'}  {key.kty}" for key in keys.keys]
    refused = [f"  refused: {one.message}" for one in keys.refused]
    lines = [f"{client_id} is registered. Keys at {jwks_uri}:", *found, *refused]
    return Made({"client": stored, "keys": [key.kid for key in keys.keys]}, lines)


def with_secret(remote: Remote, client_id: str, *, scope: Sequence[str]) -> Made:
    """Register the client with a new secret for HTTP Basic, which is told once and stored nowhere."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    body = {"active": True, "grant_types": [BASIC], "scope": list(scope), "secret": secret}
    stored = _register(remote, client_id, body)
    lines = [
        f"{client_id} is registered. Its secret, shown once:",
        f"  {secret}",
        f"  for the FHIR layer: AUTHSERVER_FHIR_CLIENT_ID={client_id} AUTHSERVER_FHIR_CLIENT_SECRET_FILE=FILE",
    ]
    return Made({"client": stored, "secret": secret}, lines)


def policies_of(remote: Remote, client_id: str) -> list[dict[str, Any]]:
    """Return the policies that are linked to this client, with others or alone."""
    found = remote.search(ACCESS_POLICY)
    return [
        policy
        for policy in found
        if any(is_only_of({**policy, "link": [link]}, client_id) for link in policy.get("link", []))
    ]


def _backend_client(scope: Sequence[str], **proof: Any) -> dict[str, Any]:
    return {"active": True, "grant_types": [CLIENT_CREDENTIALS], "scope": list(scope), **proof}


def _register(remote: Remote, client_id: str, body: dict[str, Any]) -> dict[str, Any]:
    stored = remote.put(CLIENT, client_id, body=body)
    remote.put(ACCESS_POLICY, client_id, body=allow_policy(client_id))
    return stored


def _next_steps(remote: Remote, client_id: str, *, scope: Sequence[str], pair: KeyPair, file: Path) -> list[str]:
    named = "" if private_keys.algorithm_of(pair.private) == pair.algorithm else f" --alg {pair.algorithm}"
    ask = f"authserver token {client_id} --key {file}{named} --url {remote.url}"
    # The first scope names a type that a search can be tried with.
    resource_type = next((one.split("/")[1].split(".")[0] for one in scope if one.startswith("system/")), "Patient")
    path = "metadata" if resource_type == "*" else f"{resource_type}?_count=2"
    return [
        f"{client_id} is registered: {pair.algorithm} key {pair.kid} in {file}, policy AccessPolicy/{client_id}.",
        "Next:",
        f"  {ask}",
        f'  curl -H "Authorization: Bearer $({ask})" "{remote.url}/fhir/{path}"',
        f"  {ask} | authserver introspect - --url {remote.url}",
    ]


def _fetch(jwks_uri: str) -> JwkSet:
    try:
        with requests.get(jwks_uri, timeout=_FETCH_SECONDS, allow_redirects=False, stream=True) as answer:
            document = answer.raw.read(_MAX_JWKS_BYTES + 1, decode_content=True)
            status = answer.status_code
    except requests.RequestException as error:
        raise Failure(f"{jwks_uri} does not answer from here ({type(error).__name__}).") from error
    if status != 200 or len(document) > _MAX_JWKS_BYTES:
        raise Failure(f"{jwks_uri} answered {status} with {len(document)} bytes: no key set.")
    try:
        return parse_document(document, rules=KeyRules())
    except InvalidClient as error:
        raise Failure(f"{jwks_uri}: {error.detail}") from error
