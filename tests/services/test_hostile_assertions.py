"""Every assertion of tests/vectors/assertions.json, given to the real client authentication.

Rows A2, A3, A13, A14; threats A01 to A23, B01 to B06 and B12, each named by its case.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from authserver.adapters.memory import MemoryReplayGuard, MemoryResourceStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.errors import InvalidClient
from authserver.protocol import jose, render
from authserver.protocol.assertion import Expected
from authserver.protocol.client import ClientRules
from authserver.protocol.token_request import ClientAssertion
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.ports import CLIENT
from authserver.services.registry import Registry
from tests.builders import (
    CLIENT_ID,
    ISSUER,
    JWKS_URI,
    NOW,
    TOKEN_URL,
    RecordingAuditLog,
    StaticJwks,
    assertion_claims,
    client_resource,
    vectors,
)
from tests.keys import key
from tests.protocol.forgery import forge, published_keys

CONTROL = "control-1"
"""The id of an untouched client beside the one under attack."""


class Server:
    """A client authentication in memory with the client of a case, and an untouched one."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        store, rules = MemoryResourceStore(), ClientRules(algorithms=jose.DEFAULT_ALGORITHMS)
        changes = dict(case.get("registration", {}))
        documents = {} if case.get("keys", ()) is None else {JWKS_URI: {"keys": published_keys(case)}}
        if case.get("inline"):
            changes |= {"jwks_uri": None, "jwks": documents[JWKS_URI]}
        store.put(CLIENT, CLIENT_ID, client_resource(**changes), now=NOW)
        inline = {"jwks_uri": None, "jwks": {"keys": [key().jwk]}}
        store.put(CLIENT, CONTROL, client_resource(**inline), now=NOW)
        self.jwks = StaticJwks(documents)
        self.guard = MemoryReplayGuard()
        self.audit_log = RecordingAuditLog()
        algorithms = tuple(case.get("algorithms", ()))
        if algorithms:
            rules = ClientRules(algorithms=algorithms)
        self.authentication = ClientAuthentication(
            Registry(store, MemoryChanges(), nearby=store, rules=rules, audit_log=self.audit_log),
            self.jwks,
            self.guard,
            expected=Expected(ISSUER, frozenset({ISSUER, TOKEN_URL})),
            algorithms=rules.algorithms,
        )

    def authenticate(self, token: str, client_id: str | None = None) -> str:
        """Return the id of the proven client."""
        return self.authentication.authenticate(ClientAssertion(token, client_id), now=NOW).id


@pytest.mark.parametrize("case", vectors("assertions", lambda case: case["reason"] is None))
def test_assertion_at_the_edge_is_accepted(case: dict[str, Any]) -> None:
    server = Server(case)

    proven = server.authenticate(forge(case))

    assert (proven, {uri for uri, _ in server.jwks.asked}) == (CLIENT_ID, {JWKS_URI})


@pytest.mark.parametrize("case", vectors("assertions", lambda case: case["reason"] is not None))
def test_hostile_assertion_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    server = Server(case)

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(forge(case), case.get("client_id"))

    # Alike on the wire whatever the cause; the reason is the log's. No stranger's address is asked for keys.
    assert refused.value.reason == case["reason"]
    assert render.oauth_error(refused.value) == render.oauth_error(InvalidClient())
    assert {uri for uri, _ in server.jwks.asked} <= {JWKS_URI}
    # Nothing was used up or broken: the client beside it goes on working, and its jti is the only one claimed.
    assert server.authenticate(key().sign(assertion_claims(client_id=CONTROL))) == CONTROL
    assert server.guard.purge(before=2**63) == 1
