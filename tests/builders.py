"""Valid by default: clients, assertions and whole servers in memory, so that a test changes one thing."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from authserver.adapters.key_files import open_signer
from authserver.adapters.memory import MemoryReceiptStore, MemoryStores
from authserver.adapters.memory_decisions import MemoryDecisionStore
from authserver.app import Parts
from authserver.errors import JwksUnavailable
from authserver.protocol import client as client_protocol
from authserver.protocol.client import Client, ClientRules
from authserver.protocol.decision_record import DecisionRecord
from authserver.protocol.jwks import JwkSet, parse_document
from authserver.protocol.jwks_url import JwksUrlRules
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.render import encode
from authserver.protocol.token_request import JWT_BEARER
from authserver.services.ports import Receipt
from authserver.settings import Settings
from tests.keys import KeyPair, key

NOW = 1_800_000_000
"""The moment of every test that passes time as a number: 2027-01-15T08:00:00Z."""

ISSUER = "https://auth.example"
TOKEN_URL = f"{ISSUER}/auth/token"
FHIR_BASE = f"{ISSUER}/fhir"
CLIENT_ID = "inferno-my-clinic-bulk-client"
JWKS_URI = "https://clinic.example/.well-known/jwks.json"
ROOT_SECRET = "canary-secret of root"
"""Every secret of the tests begins like this one: what a server leaves is searched for it (tests/canaries.py)."""

DEVELOPMENT_RULES = ClientRules(jwks_urls=JwksUrlRules.from_allow_list((), development=True))


def client_resource(**changes: Any) -> dict[str, Any]:
    """Return the documented Client (source document 003) with `changes`; a None leaves the member out."""
    resource = {
        "type": "bulk-api-client",
        "active": True,
        "auth": {
            "client_credentials": {
                "client_assertion_types": [JWT_BEARER],
                "access_token_expiration": 300,
                "token_format": "jwt",
            }
        },
        "scope": ["system/*.read"],
        "jwks_uri": JWKS_URI,
        "grant_types": ["client_credentials"],
        **changes,
    }
    return {name: value for name, value in resource.items() if value is not None}


def inline_keys(*pairs: KeyPair) -> dict[str, Any]:
    """Return the changes that replace the jwks_uri of client_resource() by these keys."""
    return {"jwks_uri": None, "jwks": {"keys": [pair.jwk for pair in pairs]}}


def make_client(client_id: str = CLIENT_ID, *, rules: ClientRules | None = None, **changes: Any) -> Client:
    """Return a compiled client, registered as client_resource(**changes)."""
    return client_protocol.from_resource(client_resource(**changes), client_id=client_id, rules=rules or ClientRules())


def assertion_claims(now: int = NOW, client_id: str = CLIENT_ID, **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid assertion with `changes`; a None leaves the claim out."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_URL,
        "exp": now + 300,
        "iat": now,
        "jti": secrets.token_urlsafe(12),
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def make_assertion(
    pair: KeyPair | None = None,
    *,
    now: int = NOW,
    client_id: str = CLIENT_ID,
    header: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """Return a signed assertion, valid but for `changes` of its claims and `header` members."""
    return (pair or key()).sign(assertion_claims(now, client_id, **changes), header=header)


def token_form(assertion: str, **changes: str | None) -> dict[str, str]:
    """Return the form of a token request with `changes`; a None leaves the parameter out."""
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.read",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": assertion,
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


@dataclass
class StaticJwks:
    """JwksSource over documents in a dict; `asked` counts the questions."""

    documents: Mapping[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        """Return the set registered for the address, or raise JwksUnavailable."""
        self.asked.append((jwks_uri, kid))
        if jwks_uri not in self.documents:
            raise JwksUnavailable(detail=f"{jwks_uri}: no such document")
        return parse_document(encode(self.documents[jwks_uri]), rules=KeyRules())

    def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
        """Hold nothing, so that every question is counted."""
        return None

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        """Charge nobody, so forgive nobody."""


@dataclass
class RecordingAuditLog:
    """AuditLog that keeps what it was told."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def record(self, event: str, **facts: object) -> None:
        """Keep the event."""
        self.events.append((event, facts))


@dataclass
class DirectReceiptLog:
    """ReceiptLog without a queue."""

    store: MemoryReceiptStore

    def note(self, receipt: Receipt) -> None:
        """Keep the receipt at once."""
        self.store.add([receipt])

    def find(self, receipt_id: str) -> Receipt | None:
        """Return the receipt."""
        return self.store.get(receipt_id)


@dataclass
class DirectDecisionLog:
    """DecisionLog without a queue."""

    store: MemoryDecisionStore

    def note(self, record: DecisionRecord) -> None:
        """Keep the record at once."""
        self.store.add([record])

    def find(self, record_id: str) -> DecisionRecord | None:
        """Return the record."""
        return self.store.get(record_id)


class PlainHasher:
    """SecretHasher without the cost; for tests that are not about hashing."""

    def hash(self, secret: str) -> str:
        """Return a reversible stand-in."""
        return f"plain:{secret}"

    def verify(self, secret: str, secret_hash: str | None) -> bool:
        """Compare."""
        return secret_hash == f"plain:{secret}"

    def remembers(self, secret: str, secret_hash: str | None) -> bool:
        """Compare: this costs nothing anyway."""
        return self.verify(secret, secret_hash)


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Return settings of a server at ISSUER whose files lie in `folder`, without limits on how often one may ask."""
    unlimited = {"client_rate": 0, "client_failures": 0, "source_failures": 0}
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # of pydantic-settings; no field declares it
        **{**unlimited, "issuer": ISSUER, "instance_dir": folder / "instance", "keys_dir": folder / "keys", **changes},
    )


def make_parts(folder: Path, *, jwks: Mapping[str, Any] | None = None) -> Parts:
    """Return parts in memory, with real signing keys in `folder`."""
    documents = {JWKS_URI: {"keys": [key().jwk]}} if jwks is None else jwks
    stores = MemoryStores()
    return Parts(
        stores=stores,
        signer=open_signer(folder / "keys", algorithm="ES256"),
        jwks_source=StaticJwks(documents),
        hasher=PlainHasher(),
        audit_log=RecordingAuditLog(),
        receipt_log=DirectReceiptLog(stores.receipts),
        decision_log=DirectDecisionLog(stores.decisions),
    )


def vectors(name: str, where: Callable[[dict[str, Any]], bool] = lambda case: True) -> list[ParameterSet]:
    """Return the cases of tests/vectors/NAME.json as parameters, with ids such as `A12-two-exp-members`."""
    cases = json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text())
    return [pytest.param(case, id=f"{case['id']}-{'-'.join(case['name'].split())}") for case in cases if where(case)]
