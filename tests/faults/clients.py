"""What a client of the load does: registers, signs assertions, asks; as requests ready to be sent."""

import time
import uuid
from dataclasses import dataclass

from authserver.protocol.token_request import JWT_BEARER
from tests.builders import client_resource, inline_keys
from tests.faults import wire
from tests.keys import KeyPair, key

ISSUER = "http://auth.example"
TOKEN_PATH = "/auth/token"
LIFETIME = 290
"""Seconds for which an assertion is good."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """A token request, with the jti of its assertion and the moment (monotonic seconds) after which it is of no use."""

    jti: str
    request: bytes
    until: float


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a key of its own, registered with it."""

    id: str
    pair: KeyPair

    def registration(self, *, named: str = "", active: bool = True) -> bytes:
        """Return the PUT that registers it; another name makes another version."""
        name = {"name": named} if named else {}
        return wire.put(f"/Client/{self.id}", client_resource(active=active, **inline_keys(self.pair), **name))

    def policy(self) -> bytes:
        """Return the PUT that allows it something."""
        link = [{"id": self.id, "resourceType": "Client"}]
        return wire.put(f"/AccessPolicy/{self.id}", {"engine": "allow", "link": link})

    def assertion(self, *, now: int | None = None, lifetime: int = LIFETIME) -> Assertion:
        """Return a new token request; `now` in epoch seconds, by default this moment."""
        moment, jti = int(time.time()) if now is None else now, uuid.uuid4().hex
        claims = {"iss": self.id, "sub": self.id, "aud": f"{ISSUER}{TOKEN_PATH}", "jti": jti, "exp": moment + lifetime}
        fields = {
            "grant_type": "client_credentials",
            "scope": "system/*.read",
            "client_assertion_type": JWT_BEARER,
            "client_assertion": self.pair.sign(claims),
        }
        return Assertion(jti, wire.form(TOKEN_PATH, fields, operator=False), time.monotonic() + lifetime)


def make_client(client_id: str) -> Client:
    """Return a client with a key that signs quickly."""
    return Client(client_id, key("ES256", client_id))
