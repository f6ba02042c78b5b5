"""POST /Client/{id}/$flush-keys, and whom the token endpoint charges for a fetch (threats C10, C11)."""

from dataclasses import replace
from pathlib import Path

import pytest

from authserver import clock
from authserver.app import create_app
from authserver.protocol.jwks import JwkSet
from tests.builders import CLIENT_ID, JWKS_URI, ROOT_SECRET, StaticJwks, inline_keys, make_parts, make_settings
from tests.http import Server, basic
from tests.keys import key

FLUSH = f"/Client/{CLIENT_ID}/$flush-keys"


class Noting(StaticJwks):
    """JwksSource that keeps for what moment, and on whose account, it was asked."""

    def __init__(self) -> None:
        super().__init__({JWKS_URI: {"keys": [key().jwk]}})
        self.moments: list[int] = []
        self.sources: list[str | None] = []
        self.thanked: list[str | None] = []

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        self.moments.append(since)
        self.sources.append(source)
        return super().keys(jwks_uri, kid=kid, now=now)

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        self.thanked.append(source)


@pytest.fixture
def source() -> Noting:
    return Noting()


@pytest.fixture
def noted(tmp_path: Path, source: Noting) -> Server:
    """A server behind the trusted proxy 127.0.0.1, with the documented client."""
    parts = replace(make_parts(tmp_path), jwks_source=source)
    settings = make_settings(tmp_path, trusted_proxies="127.0.0.1")
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    server.put_client()
    server.put_policy()
    return server


def test_after_a_flush_keys_are_asked_for_anew(noted: Server, source: Noting) -> None:
    """C11: the moment that the cache compares grows with the flush, and with nothing else."""
    noted.ask_token()
    noted.ask_token()
    flushed = noted.request("POST", FLUSH, headers=basic())
    noted.ask_token()
    noted.ask_token()

    first, second, third, fourth = source.moments
    assert (flushed.status_code, flushed.json["issue"][0]["severity"]) == (200, "information")
    assert first == second < third == fourth


def test_a_flush_is_a_version_equal_to_the_former(noted: Server) -> None:
    before = noted.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).json
    noted.request("POST", FLUSH, headers=basic())

    after = noted.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).json

    versions = int(before.pop("meta")["versionId"]), int(after.pop("meta")["versionId"])
    assert (after, versions) == (before, (1, 2))


def test_a_flush_ends_no_token(noted: Server) -> None:
    token = noted.token()
    noted.request("POST", FLUSH, headers=basic())

    assert noted.introspect(token).json["active"] is True


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        (FLUSH, {}, 401),
        ("/Client/nobody/$flush-keys", {"headers": basic()}, 404),
        (f"/AccessPolicy/{CLIENT_ID}/$flush-keys", {"headers": basic()}, 404),
    ],
)
def test_a_flush_needs_an_operator_and_a_client(
    noted: Server, path: str, options: dict[str, dict[str, str]], status: int
) -> None:
    assert noted.request("POST", path, **options).status_code == status


def test_a_client_may_not_flush_by_a_token_without_that_scope(noted: Server) -> None:
    token = noted.token()

    answer = noted.request("POST", FLUSH, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 403


def test_inline_keys_have_nothing_to_flush(noted: Server) -> None:
    noted.put_client("inline", **inline_keys(key()))

    answer = noted.request("POST", "/Client/inline/$flush-keys", headers=basic())

    assert (answer.status_code, answer.json["issue"][0]["diagnostics"]) == (
        400,
        "This client registered no jwks_uri: PUT it with other keys instead.",
    )


def test_a_fetch_is_charged_to_whom_the_proxy_names_and_forgiven_when_he_is_proven(
    noted: Server, source: Noting
) -> None:
    """C10."""
    noted.ask_token()
    proven = list(source.thanked)
    noted.ask_token(key("ES384", "key-2"))

    assert (source.sources, proven, source.thanked) == (["127.0.0.1"] * 2, ["127.0.0.1"], ["127.0.0.1"])


def test_a_replayed_assertion_earns_nothing(noted: Server, source: Noting) -> None:
    """C10: what somebody else sent proves nobody."""
    jti = {"jti": "once-and-no-more"}
    answers = [noted.ask_token(claims=jti).status_code for _ in range(2)]

    assert (answers, len(source.sources), len(source.thanked)) == ([200, 400], 2, 1)
