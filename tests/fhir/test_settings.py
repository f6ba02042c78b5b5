"""The settings of the FHIR layer."""

from typing import Any

import pytest
from pydantic import ValidationError

from authserver.fhir.settings import FhirSettings


def _settings(**members: Any) -> FhirSettings:
    return FhirSettings(**{"fhir_base_url": "https://h.example/fhir", "issuer": "https://a.example", **members})


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("https://h.example/fhir/", "https://h.example/fhir", "/fhir"),
        ("http://127.0.0.1:8080/a/fhir", "http://127.0.0.1:8080/a/fhir", "/a/fhir"),
        ("https://h.example", "https://h.example", ""),
    ],
)
def test_the_base_url_loses_its_trailing_slash(url: str, base: str, path: str) -> None:
    settings = _settings(fhir_base_url=url)

    assert (settings.fhir_base_url, settings.base_path) == (base, path)


@pytest.mark.parametrize(
    "url", ["/fhir", "ftp://h/fhir", "https:///fhir", "https://h/f?x", "https://h/f#x", "https://h/%66"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        _settings(fhir_base_url=url)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_FHIR_BASE_URL", "https://e.example/fhir")
    monkeypatch.setenv("AUTHSERVER_ISSUER", "https://a.example")
    monkeypatch.setenv("AUTHSERVER_FHIR_MAX_PAGE_SIZE", "50")

    nothing: dict[str, Any] = {}
    settings = FhirSettings(**nothing)

    assert (settings.fhir_base_url, settings.fhir_max_page_size) == ("https://e.example/fhir", 50)


def test_the_secret_does_not_show() -> None:
    assert "hush" not in repr(_settings(fhir_client_secret="hush"))


def test_settings_do_not_change() -> None:
    settings = _settings()

    with pytest.raises(ValidationError):
        settings.issuer = "https://other.example"
