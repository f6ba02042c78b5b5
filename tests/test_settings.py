"""The settings: defaults that follow from each other, and every problem at once."""

from pathlib import Path

import pytest

from authserver import settings
from authserver.protocol import jose
from authserver.settings import SettingsError


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` in the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("host", "issuer"),
    [
        (None, "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("::", "http://127.0.0.1:9000"),
        ("::1", "http://[::1]:9000"),
        ("localhost", "http://localhost:9000"),
    ],
)
def test_in_development_the_issuer_follows_from_host_and_port(host: str | None, issuer: str) -> None:
    loaded = settings.load(dev=True, port=9000, host=host)

    assert (loaded.issuer, loaded.fhir_base_url, loaded.token_url) == (issuer, f"{issuer}/fhir", f"{issuer}/auth/token")


def test_a_given_issuer_stands() -> None:
    loaded = settings.load(issuer="https://auth.example", fhir_base_url="https://fhir.example/r4")

    assert (loaded.issuer, loaded.fhir_base_url) == ("https://auth.example", "https://fhir.example/r4")


def test_the_environment_is_read_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_ISSUER", "https://auth.example")
    monkeypatch.setenv("AUTHSERVER_PORT", "9001")
    monkeypatch.setenv("AUTHSERVER_WILDCARD_TYPES", "Patient, Observation")

    assert settings.load().port == 9001
    assert settings.load(port=9002).port == 9002
    assert settings.load().wildcard == {"Patient", "Observation"}


def test_the_databases_lie_in_the_instance_folder(tmp_path: Path) -> None:
    loaded = settings.load(dev=True, instance_dir=str(tmp_path / "data"))

    assert loaded.database_url == f"sqlite:///{tmp_path}/data/authserver.sqlite3"


@pytest.mark.parametrize(
    ("named", "bases"),
    [(None, ("/r4/fhir",)), ("/fhir,/other", ("/fhir", "/other")), ("none", ())],
)
def test_forward_auth_follows_the_fhir_base(named: str | None, bases: tuple[str, ...]) -> None:
    """X45."""
    loaded = settings.load(
        issuer="https://a.example", fhir_base_url="https://f.example/r4/fhir", verify_fhir_bases=named
    )

    assert loaded.forward_fhir_bases == bases
    assert loaded.forward_audiences == {"https://f.example/r4/fhir"}


@pytest.mark.parametrize("base", ["fhir", "/fhir/", "none /fhir", "/"])
def test_a_base_that_is_no_path_is_refused(base: str) -> None:
    with pytest.raises(SettingsError, match="AUTHSERVER_VERIFY_FHIR_BASES: must be paths such as /fhir"):
        settings.load(issuer="https://a.example", verify_fhir_bases=base)


def test_a_star_keeps_the_wildcard() -> None:
    assert settings.load(dev=True, wildcard_types="*").wildcard is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "AUTHSERVER_ISSUER is missing: set it to the public https URL of this server, or start with --dev"),
        ({"issuer": "http://auth.example"}, "AUTHSERVER_ISSUER must begin with https:// (only --dev allows http)"),
        (
            {"issuer": "https://auth.example/"},
            "AUTHSERVER_ISSUER must be scheme://host[:port] without a path or a trailing slash",
        ),
        (
            {"issuer": "https://auth.example", "workers": 2},
            "AUTHSERVER_WORKERS above 1 needs PostgreSQL in AUTHSERVER_DATABASE_URL: SQLite serves one process",
        ),
        (
            {"issuer": "https://auth.example", "fhir_base_url": "/fhir"},
            "AUTHSERVER_FHIR_BASE_URL must be an absolute URL without a trailing slash",
        ),
        (
            {"dev": True, "wildcard_types": "Patient Banana"},
            "AUTHSERVER_WILDCARD_TYPES: must be FHIR R4 resource types, or the one word *",
        ),
        (
            {"dev": True, "assertion_algorithms": "HS256"},
            f"AUTHSERVER_ASSERTION_ALGORITHMS: must be of {', '.join(jose.ALGORITHMS)}",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_variable_to_change(changes: dict[str, object], sentence: str) -> None:
    """G13: unsafe settings refuse to start; symmetric algorithms cannot be switched on."""
    with pytest.raises(SettingsError) as refused:
        settings.load(**changes)

    assert str(refused.value).splitlines() == [sentence]


def test_every_problem_is_listed() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(port=0, signing_algorithm="HS256", max_token_lifetime=0)

    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "AUTHSERVER_PORT",
        "AUTHSERVER_SIGNING_ALGORITHM",
        "AUTHSERVER_MAX_TOKEN_LIFETIME",
    ]


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    environment = {"AUTHSERVER_ISUER": "x", "AUTHSERVER_PORT": "1", "OTHER": "x"}

    assert settings.unknown_variables(["issuer", "port"], environment) == [
        "AUTHSERVER_ISUER is no setting; did you mean AUTHSERVER_ISSUER?"
    ]
