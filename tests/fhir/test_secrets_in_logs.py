"""Threat E14: at the finest level of every logger, libraries' included, no log has a token or a secret."""

import logging
from pathlib import Path

import pytest

from authserver import clock
from authserver.app import build_services, create_app
from authserver.cli.fhir_part import direct_introspection
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from authserver.services.registration import ensure_root
from tests.builders import ROOT_SECRET, make_assertion, make_parts, make_settings, token_form
from tests.fhir.builders import BASE, ISSUER, bearer, make_app
from tests.http import Server, basic
from tests.keys import new_key

CANARY = "canary-client-secret"


def test_no_secret_is_in_any_log_at_debug_level(
    tmp_path: Path,
    sqlite_store: SqlStore,
    definitions: Definitions,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A whole story: registration, token, replay, introspection, FHIR, revocation, and failures of each."""
    caplog.set_level(logging.DEBUG)
    settings, parts = make_settings(tmp_path, issuer=ISSUER, fhir_base_url=BASE), make_parts(tmp_path)
    services = build_services(settings, parts)
    ensure_root(services.registration, secret=ROOT_SECRET, now=clock.now_microseconds())
    server = Server(create_app(settings, parts=parts, services=services))
    fhir = make_app(sqlite_store, definitions, introspection=direct_introspection(services.introspection)).test_client()

    server.put_client()
    server.put_policy()
    server.put_client("with-secret", secret=CANARY, grant_types=["basic"])
    server.request("PUT", "/Client/x", json={"secret": [CANARY]}, headers=basic())
    assertion = make_assertion(now=clock.now())
    forged = make_assertion(new_key(), now=clock.now())
    answers = [server.post_form("/auth/token", token_form(one)) for one in (assertion, assertion, forged)]
    token = answers[0].get_json()["access_token"]
    server.post_form("/auth/token", token_form(assertion, client_secret=CANARY))
    server.request("POST", f"/auth/token?client_assertion={assertion}")
    introspected = [server.introspect(one).get_json()["active"] for one in (token, f"{token}x")]
    read = [fhir.get("/fhir/Patient", headers=bearer(one)).status_code for one in (token, f"{token}x", CANARY)]
    server.introspect(token, headers=basic("with-secret", CANARY))
    server.introspect(token, headers=basic("root", f"{ROOT_SECRET}x"))
    server.post_form("/auth/revoke", {"token": token}, headers=basic())

    said = capsys.readouterr()
    logged = caplog.text + said.out + said.err
    assert ([one.status_code for one in answers], introspected, read) == (
        [200, 400, 400],
        [True, False],
        [200, 401, 401],
    )
    secrets = [CANARY, ROOT_SECRET, *(part for one in (assertion, token, forged) for part in one.split(".")[1:])]
    assert [secret for secret in secrets if secret in logged] == []
    assert all(reason in logged for reason in ("jti_replayed", "signature_invalid", "other_mechanism"))
