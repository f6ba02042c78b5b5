"""The fetcher of key sets that is made when it is first asked: the same answers, and a wrong file is found at once."""

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from authserver.adapters.jwks_late import LateJwksHttp
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_url import JwksUrlRules

DEVELOPMENT = JwksUrlRules(development=True)


def test_each_fetch_is_answered_as_by_the_fetcher_itself(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/jwks").respond_with_data(b'{"keys": []}', content_type="application/json")
    fetcher = LateJwksHttp(DEVELOPMENT)

    found = [fetcher.fetch(httpserver.url_for("/jwks")) for _ in range(2)]

    assert [(one.status, one.body) for one in found] == [(200, b'{"keys": []}')] * 2


def test_rules_hold_for_the_first_fetch(httpserver: HTTPServer) -> None:
    """Threat C01: the rules are handed on."""
    fetcher = LateJwksHttp(JwksUrlRules())

    with pytest.raises(JwksUnavailable) as caught:
        fetcher.fetch(httpserver.url_for("/jwks"))

    assert caught.value.reason == "jwks_url_not_https"


def test_certificate_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LateJwksHttp(DEVELOPMENT, ca_file=str(tmp_path / "none.pem"))
