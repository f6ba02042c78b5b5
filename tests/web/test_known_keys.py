"""Publicly known keys over HTTP: refused at registration and at use in production, taken in development. Threat A08."""

from pathlib import Path
from typing import Any

import pytest

from authserver import clock
from authserver.app import Parts, create_app
from tests.builders import (
    CLIENT_ID,
    JWKS_URI,
    ROOT_SECRET,
    client_resource,
    inline_keys,
    make_assertion,
    make_parts,
    make_settings,
    token_form,
)
from tests.http import Server, basic
from tests.keys import key
from tests.protocol.test_known_keys import SMART_ES384

KNOWN: dict[str, Any] = {**SMART_ES384, "kid": "known"}
INLINE: dict[str, Any] = {"jwks_uri": None, "jwks": {"keys": [key().jwk, KNOWN]}}


def reason_of(server: Server, assertion: str) -> str | None:
    """Return the reason of a refused token request, None for a granted one."""
    answer = server.post_form("/auth/token", token_form(assertion))
    if answer.status_code == 200:
        return None
    told: Any = server.request("GET", f"/auth/receipt/{answer.headers['X-Request-Id']}", headers=basic()).json
    return str(told["reason"])


def signed_as_known() -> str:
    """Return an assertion that names the known key; who signed it does not matter any more."""
    return make_assertion(now=clock.now(), header={"kid": "known"})


def test_a_registration_with_a_known_key_is_refused_by_its_place_and_origin(server: Server) -> None:
    answer: Any = server.put_client(**INLINE)

    assert answer.status_code == 422
    assert answer.json["issue"] == [
        {
            "severity": "error",
            "code": "value",
            "diagnostics": "everybody has the private half (SMART App Launch implementation guide, sample ES384 key); "
            "make a key of your own",
            "expression": ["Client.jwks.keys[1]"],
        }
    ]
    assert server.put_client(**inline_keys(key())).status_code == 201


def test_a_known_key_behind_a_jwks_uri_proves_nobody_and_its_neighbour_does(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, jwks={JWKS_URI: INLINE["jwks"]})
    settings = make_settings(tmp_path)
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    server.put_client()

    assert reason_of(server, signed_as_known()) == "key_publicly_known"
    assert reason_of(server, make_assertion(now=clock.now())) is None


def test_a_client_that_was_registered_with_a_known_key_before_is_refused_at_use(server: Server, parts: Parts) -> None:
    """Registered in development mode or by a former version, then served in production."""
    body = client_resource(**INLINE)
    parts.stores.resources.put("Client", CLIENT_ID, body, now=clock.now_microseconds())

    assert reason_of(server, signed_as_known()) == "key_publicly_known"
    assert reason_of(server, make_assertion(now=clock.now())) is None


@pytest.mark.parametrize(("dev", "status"), [(True, 201), (False, 422)])
def test_only_development_mode_registers_a_known_key(tmp_path: Path, *, dev: bool, status: int) -> None:
    parts, settings = make_parts(tmp_path), make_settings(tmp_path, dev=dev)
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())

    assert server.put_client(**INLINE).status_code == status
