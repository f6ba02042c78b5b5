"""A client that publishes a private or symmetric key: refused with it, and told of once."""

from typing import Any

from authserver.services.key_alarm import AlarmingJwks
from tests.builders import JWKS_URI, RecordingAuditLog, StaticJwks
from tests.keys import key

PRIVATE = {**key().jwk, "kid": "leaked", "d": "AQAB"}
SYMMETRIC = {"kty": "oct", "k": "AQAB", "kid": "shared"}


def told(*sets: list[Any]) -> list[tuple[str, dict[str, object]]]:
    """Return what is recorded while the address has these sets of keys, one after the other."""
    audit_log, documents = RecordingAuditLog(), {JWKS_URI: {"keys": sets[0]}}
    jwks = AlarmingJwks(StaticJwks(documents), audit_log)
    for keys in sets:
        documents[JWKS_URI] = {"keys": keys}
        found = jwks.keys(JWKS_URI, kid="any", now=1)
        assert [usable.kid for usable in found.keys] == [key().jwk["kid"]]
    return audit_log.events


def test_a_secret_in_a_key_set_is_told_of_without_the_secret() -> None:
    """A03, A20: the good key beside it goes on to work."""
    events = told([key().jwk, PRIVATE, SYMMETRIC])

    keys = [
        {"index": 1, "kid": "leaked", "reason": "private_key"},
        {"index": 2, "kid": "shared", "reason": "symmetric_key"},
    ]
    assert events == [("jwks_contains_secret", {"jwks_uri": JWKS_URI, "keys": keys})]


def test_a_key_set_of_public_keys_is_not_told_of() -> None:
    assert told([key().jwk]) == []


def test_it_is_told_once_and_again_when_it_changes() -> None:
    """A20: not with every request."""
    events = told([key().jwk, PRIVATE], [key().jwk, PRIVATE], [key().jwk, PRIVATE, SYMMETRIC])

    assert [len(facts["keys"]) for _, facts in events] == [1, 2]  # type: ignore[arg-type]


def test_only_so_many_addresses_are_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr("authserver.services.key_alarm.MAX_TOLD", 1)
    audit_log = RecordingAuditLog()
    documents = {address: {"keys": [PRIVATE]} for address in ("https://a.example/k", "https://b.example/k")}
    jwks = AlarmingJwks(StaticJwks(documents), audit_log)

    for address in (*documents, *documents):
        jwks.keys(address, kid="any", now=1)

    assert len(audit_log.events) == 4
    assert jwks.held(JWKS_URI, kid="any") is None
    jwks.proven(JWKS_URI, source=None)
