"""Nobody learns which clients exist: same bytes, same headers, and a verification for every refusal. E06, E07."""

from pathlib import Path
from typing import Any

import pytest

from authserver import clock
from authserver.errors import InvalidClient
from authserver.protocol import jose
from authserver.protocol.token_request import ClientAssertion
from tests.builders import CLIENT_ID, NOW, inline_keys, make_assertion, token_form
from tests.http import Server
from tests.keys import key
from tests.services.memory_server import open_server

OTHER = key("ES384", "key-2")


def forms(server: Server) -> dict[str, dict[str, str]]:
    """Return one token request for every cause of a failed authentication."""
    now, used = clock.now(), make_assertion(now=clock.now())
    server.put_client(**inline_keys(key()))
    server.put_client("inactive", **inline_keys(key()), active=False)
    server.put_client("keyless", jwks_uri=None)
    server.put_client("picky", **inline_keys(key()), token_endpoint_auth_signing_alg="RS384")
    server.put_client("elsewhere", jwks_uri="https://gone.example/jwks.json")
    server.post_form("/auth/token", token_form(used))

    def sent(*, pair: Any = None, form: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        return token_form(make_assertion(pair, now=now, **changes), **(form or {}))

    return {
        "unknown client": sent(client_id="nobody"),
        "inactive client": sent(client_id="inactive"),
        "client without keys": sent(client_id="keyless"),
        "algorithm not registered": sent(client_id="picky"),
        "keys that cannot be had": sent(client_id="elsewhere"),
        "wrong signature": sent(pair=OTHER, header={"kid": "key-1"}),
        "unknown kid": sent(header={"kid": "other"}),
        "missing kid": sent(header={"kid": None}),
        "wrong typ": sent(header={"typ": "at+jwt"}),
        "jku": sent(header={"jku": "https://evil.example"}),
        "replayed": token_form(used),
        "wrong aud": sent(aud="https://other.example"),
        "far exp": sent(exp=now + 3_600),
        "past exp": sent(exp=now - 60),
        "iss is not sub": sent(iss="other"),
        "missing jti": sent(jti=None),
        "malformed": token_form("a.b"),
        "missing assertion": token_form(used, client_assertion=None),
        "wrong assertion type": token_form(used, client_assertion_type="urn:x"),
        "secret beside it": sent(form={"client_secret": "s"}),
        "another client_id": sent(form={"client_id": "other"}),
    }


def test_every_cause_of_a_failed_authentication_is_the_same_bytes(server: Server) -> None:
    """Threats A13, E06: status, body, headers in their order with their values; only the request id differs."""
    sent = forms(server)

    answers = {cause: server.post_form("/auth/token", form) for cause, form in sent.items()}

    shapes = {
        (answer.status_code, answer.data, tuple(pair for pair in answer.headers if pair[0] != "X-Request-Id"))
        for answer in answers.values()
    }
    assert len(answers) >= 12
    assert len(shapes) == 1
    assert next(iter(shapes))[0] == 400
    assert server.ask_token().status_code == 200


class CountingDecoys:
    """Decoys that count."""

    def __init__(self) -> None:
        self.algorithms: list[str] = []

    def verify(self, jws: jose.UnverifiedJws, *, check: jose.SignatureCheck) -> None:
        """Count the verification that would be made."""
        self.algorithms.append(jws.algorithm)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": "nobody"}, "client_unknown"),
        ({"client_id": "inactive"}, "client_inactive"),
        ({"header": {"kid": "other"}}, "key_not_found"),
        ({"header": {"kid": None}}, "kid_missing"),
        ({"header": {"typ": "at+jwt"}}, "typ_not_allowed"),
        ({"pair": key("RS384"), "client_id": "nobody"}, "client_unknown"),
    ],
)
def test_what_is_refused_without_a_key_costs_a_verification_all_the_same(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    """Threat E07: bench/enumeration.py measures that the time is the same."""
    opened = open_server(tmp_path)
    opened.register(**inline_keys(key()))
    opened.register("inactive", active=False)
    usual, decoys = opened.services.issuance.authentication, CountingDecoys()
    authentication = type(usual)(
        usual.registry,
        usual.jwks_source,
        usual.replay_guard,
        expected=usual.expected,
        algorithms=usual.algorithms,
        decoys=decoys,  # type: ignore[arg-type]  # counts, verifies nothing
    )

    with pytest.raises(InvalidClient) as refused:
        authentication.authenticate(ClientAssertion(make_assertion(**changes)), now=NOW)

    assert refused.value.reason == reason
    assert decoys.algorithms == ["RS384" if "pair" in changes else "ES384"]


def test_a_verification_by_a_real_key_needs_no_decoy(tmp_path: Path) -> None:
    """Proven or forged, one verification each."""
    opened = open_server(tmp_path)
    opened.register(**inline_keys(key()))
    usual, decoys = opened.services.issuance.authentication, CountingDecoys()
    authentication = type(usual)(
        usual.registry,
        usual.jwks_source,
        usual.replay_guard,
        expected=usual.expected,
        algorithms=usual.algorithms,
        decoys=decoys,  # type: ignore[arg-type]  # counts, verifies nothing
    )
    forged = make_assertion(OTHER, header={"kid": "key-1"})

    proven = authentication.authenticate(ClientAssertion(make_assertion()), now=NOW)
    with pytest.raises(InvalidClient):
        authentication.authenticate(ClientAssertion(forged), now=NOW)

    assert (proven.id, decoys.algorithms) == (CLIENT_ID, [])
