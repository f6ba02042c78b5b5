"""The order of the checks: cheap before costly, network late, state change last. Rows A2, A3; threats B07 to B14, A23.

tests/services/test_hostile_assertions.py tries every single rule.
"""

from pathlib import Path
from typing import Any

import pytest

from authserver.errors import InvalidClient, StorageUnavailable
from authserver.protocol.token_request import ClientAssertion
from authserver.services.client_authentication import ClientAuthentication
from tests.builders import (
    CLIENT_ID,
    JWKS_URI,
    NOW,
    StaticJwks,
    inline_keys,
    make_assertion,
)
from tests.keys import key
from tests.services.memory_server import Server, open_server


def asked(server: Server) -> list[tuple[str, str]]:
    """Return the questions that were put to the source of keys."""
    assert isinstance(server.parts.jwks_source, StaticJwks)
    return server.parts.jwks_source.asked


def test_a_client_proves_itself(server: Server) -> None:
    assert server.authenticate(make_assertion()) == CLIENT_ID
    assert asked(server) == [(JWKS_URI, "key-1")]


def test_inline_keys_need_no_network(server: Server) -> None:
    """Row X6."""
    server.register(**inline_keys(key()))

    assert server.authenticate(make_assertion()) == CLIENT_ID
    assert asked(server) == []


@pytest.mark.parametrize("now", [NOW, NOW + 1, NOW + 299, NOW + 309])
def test_a_used_assertion_is_refused_as_long_as_it_could_be_accepted(server: Server, now: int) -> None:
    """Row A13, threat B07."""
    assertion = make_assertion(jti="one")
    server.authenticate(assertion)

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(assertion, now=now)

    assert refused.value.reason == "jti_replayed"
    assert server.authenticate(make_assertion(now=now, jti="two"), now=now) == CLIENT_ID


def test_the_claim_outlives_the_purge_that_a_slow_clock_could_still_need(server: Server) -> None:
    """Threat B09: purging at the last moment of acceptance forgets nothing."""
    assertion = make_assertion(jti="one")
    server.authenticate(assertion)

    assert server.parts.stores.replay_guard.purge(before=NOW + 310) == 0
    with pytest.raises(InvalidClient):
        server.authenticate(assertion, now=NOW + 309)


def test_a_new_assertion_with_a_used_jti_is_refused(server: Server) -> None:
    server.authenticate(make_assertion(jti="one"))

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(make_assertion(jti="one", exp=NOW + 200))

    assert refused.value.reason == "jti_replayed"


def test_a_jti_is_the_clients_own(server: Server) -> None:
    """Threat B11: what one client used, another may still use."""
    server.register("another")
    server.authenticate(make_assertion(jti="one", client_id="another"))

    assert server.authenticate(make_assertion(jti="one")) == CLIENT_ID


@pytest.mark.parametrize(
    "forged",
    [
        {"pair": key("ES384", "key-2"), "header": {"kid": "key-1"}},
        {"aud": "https://evil.example"},
        {"exp": NOW - 60},
        {"header": {"kid": "none"}},
        {"iss": "another"},
    ],
    ids=["another-key", "another-audience", "expired", "unknown-kid", "another-issuer"],
)
def test_a_refused_assertion_uses_up_no_jti(server: Server, forged: dict[str, Any]) -> None:
    """Threat B12: nobody burns the jti of another."""
    with pytest.raises(InvalidClient):
        server.authenticate(make_assertion(jti="one", **forged))

    assert server.authenticate(make_assertion(jti="one")) == CLIENT_ID


def test_the_key_of_one_client_proves_no_other(tmp_path: Path) -> None:
    """Threat A23: the key is looked for in the claimed client's own set alone."""
    server = open_server(tmp_path, jwks={JWKS_URI: {"keys": [key().jwk]}})
    server.register()
    server.register("another", **inline_keys(key("ES384", "key-2")))
    as_another: dict[str, Any] = {"client_id": "another", "jti": "one"}

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(make_assertion(key(), **as_another))

    assert refused.value.reason == "key_not_found"
    assert server.authenticate(make_assertion(key("ES384", "key-2"), **as_another)) == "another"


def test_a_stranger_costs_no_fetch(server: Server) -> None:
    """Threat IC: what is wrong without the keys is refused before they are asked for."""
    server.register("inactive", active=False)
    hopeless = [
        make_assertion(client_id="unknown"),
        make_assertion(client_id="inactive"),
        make_assertion(header={"typ": "at+jwt"}),
        make_assertion(header={"jku": "https://evil.example"}),
        make_assertion(header={"kid": None}),
        make_assertion(key("PS384")),
        "x",
    ]

    for assertion in hopeless:
        with pytest.raises(InvalidClient):
            server.authenticate(assertion)

    assert asked(server) == []


def test_keys_that_cannot_be_had_are_the_clients_failure(tmp_path: Path) -> None:
    """Row A3: invalid_client, never a 500; the cause is the log's."""
    server = open_server(tmp_path, jwks={})
    server.register()

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(make_assertion())

    wanted = ("jwks_unavailable", f"{CLIENT_ID}: {JWKS_URI}: no such document")
    assert (refused.value.reason, refused.value.detail) == wanted


class BrokenGuard:
    """ReplayGuard whose database does not answer."""

    def claim(self, client_id: str, jti: str, *, until: int) -> bool:
        """Fail."""
        raise StorageUnavailable(detail="claim")

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Fail."""
        raise StorageUnavailable(detail="was_claimed")

    def purge(self, *, before: int) -> int:
        """Fail."""
        raise StorageUnavailable(detail="purge")


def test_without_the_replay_guard_nobody_is_proven(server: Server) -> None:
    """Threat B13."""
    usual = server.services.issuance.authentication
    broken = ClientAuthentication(
        usual.registry, usual.jwks_source, BrokenGuard(), expected=usual.expected, algorithms=usual.algorithms
    )
    request = ClientAssertion(make_assertion())

    with pytest.raises(StorageUnavailable):
        broken.authenticate(request, now=NOW)

    assert usual.authenticate(request, now=NOW).id == CLIENT_ID


def test_our_own_access_token_is_no_assertion(server: Server) -> None:
    """Threat A22: the two kinds of token exclude each other, both ways."""
    token = server.token()

    with pytest.raises(InvalidClient) as refused:
        server.authenticate(token)

    assert refused.value.reason == "typ_not_allowed"
    assert server.services.introspection.active(make_assertion(), now=NOW) is None


def test_a_client_whose_keys_were_exchanged_is_proven_by_the_new_ones_alone(server: Server) -> None:
    server.register(**inline_keys(key()))
    server.authenticate(make_assertion())

    server.register(**inline_keys(key("RS384")))

    with pytest.raises(InvalidClient):
        server.authenticate(make_assertion())
    assert server.authenticate(make_assertion(key("RS384"))) == CLIENT_ID
