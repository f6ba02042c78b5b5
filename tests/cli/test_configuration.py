"""The settings of both parts as one: problems all at once, secrets from files, where each value came from."""

import json
from pathlib import Path
from typing import Any

import pytest

from authserver.cli import configuration
from authserver.settings import SettingsError
from tests.cli.conftest import Invoke

pytestmark = pytest.mark.usefixtures("clean_environment")
POSTGRESQL = "postgresql://server:hunter2@db.example/authserver"


def problems(role: configuration.Role | None, **changes: Any) -> list[str]:
    """Return the problems of a configuration, none when it is good."""
    try:
        configuration.load(role, **{"issuer": "https://auth.example", **changes})
    except SettingsError as error:
        return str(error).splitlines()
    return []


def test_fhir_part_takes_over_what_the_other_part_knows() -> None:
    loaded = configuration.load("both", issuer="https://auth.example", instance_dir="data")

    assert (loaded.fhir.issuer, loaded.fhir.fhir_base_url) == ("https://auth.example", "https://auth.example/fhir")
    assert loaded.fhir.introspection_url == "https://auth.example/auth/introspect"
    assert loaded.fhir.fhir_database_url == f"sqlite:///{Path.cwd() / 'data' / 'fhir.sqlite3'}"


def test_what_is_set_for_the_fhir_part_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_INTROSPECTION_URL", "http://auth.internal/auth/introspect")
    monkeypatch.setenv("AUTHSERVER_FHIR_DATABASE_URL", POSTGRESQL)

    loaded = configuration.load("both", issuer="https://auth.example")

    assert loaded.fhir.introspection_url == "http://auth.internal/auth/introspect"
    assert loaded.fhir.fhir_database_url == POSTGRESQL


def test_problems_of_both_parts_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_FHIR_DEFAULT_PAGE_SIZE", "many")

    assert problems(None, issuer="ftp://x", workers=0) == [
        "AUTHSERVER_WORKERS: Input should be greater than or equal to 1",
        "AUTHSERVER_FHIR_DEFAULT_PAGE_SIZE: Input should be a valid integer, unable to parse string as an integer",
    ]


def test_fhir_part_alone_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    without = problems("fhir")
    monkeypatch.setenv("AUTHSERVER_FHIR_CLIENT_SECRET", "canary-secret of its own")

    assert without == ["AUTHSERVER_FHIR_CLIENT_SECRET is missing: make one by `authserver client new fhir --basic`"]
    assert problems("fhir") == []


def test_short_root_secret_is_for_development_only() -> None:
    """G13."""
    assert problems("auth", root_secret="secret") == [
        "AUTHSERVER_ROOT_SECRET must have at least 16 characters (only --dev allows fewer)"
    ]
    assert problems("auth", root_secret="secret", issuer="http://127.0.0.1:8080", dev=True) == []
    assert problems("auth", root_secret="sixteen letters.") == []


def test_several_workers_need_postgresql_for_both_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite = problems("both", workers=2, database_url=POSTGRESQL)
    monkeypatch.setenv("AUTHSERVER_FHIR_DATABASE_URL", POSTGRESQL)

    assert sqlite == [
        "AUTHSERVER_WORKERS above 1 needs PostgreSQL in AUTHSERVER_FHIR_DATABASE_URL: SQLite serves one process"
    ]
    assert problems("both", workers=2, database_url=POSTGRESQL) == []


@pytest.mark.parametrize("url", ["mysql://db.example/fhir", "no url"])
def test_database_that_nothing_speaks_to_is_a_problem(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_FHIR_DATABASE_URL", url)

    assert problems("both") == [
        "AUTHSERVER_FHIR_DATABASE_URL must be sqlite:////path/file.db or postgresql://user@host/name"
    ]


def test_one_port_needs_a_path_for_the_fhir_base() -> None:
    base = {"fhir_base_url": "https://fhir.example"}

    assert problems("both", **base) == [
        "AUTHSERVER_FHIR_BASE_URL needs a path, for example /fhir, to share a port with the rest"
    ]
    assert problems("auth", **base) == []


def test_secret_comes_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("root").write_text("the secret of the file\n")
    monkeypatch.setenv("AUTHSERVER_ROOT_SECRET_FILE", "root")

    secret = configuration.load("auth", issuer="https://auth.example").settings.root_secret

    assert secret is not None
    assert secret.get_secret_value() == "the secret of the file"


def shown(invoke: Invoke, *options: str, **variables: str) -> dict[str, tuple[str, str]]:
    """Return the value and the origin of each setting, as `config show` says them."""
    result = invoke("config", "show", "--json", *options, **variables)
    assert result.exit_code == 0, result.output
    return {row["name"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}


def test_show_says_value_and_origin_of_every_setting(invoke: Invoke) -> None:
    Path(".env").write_text("AUTHSERVER_PURGE_INTERVAL=30\n")

    rows = shown(invoke, "--dev", "--port", "9000", AUTHSERVER_FHIR_CLIENT_ID="layer")

    assert rows["AUTHSERVER_PORT"] == ("9000", "command line")
    assert rows["AUTHSERVER_DEV"] == ("true", "command line")
    assert rows["AUTHSERVER_ISSUER"] == ("http://127.0.0.1:9000", "default")
    assert rows["AUTHSERVER_PURGE_INTERVAL"] == ("30", "file .env")
    assert rows["AUTHSERVER_FHIR_CLIENT_ID"] == ("layer", "environment")


def test_show_masks_every_secret(invoke: Invoke) -> None:
    secrets = {"AUTHSERVER_ROOT_SECRET": "correct horse battery", "AUTHSERVER_FHIR_CLIENT_SECRET": "staple staple"}

    result = invoke("config", "show", "--dev", **secrets, AUTHSERVER_DATABASE_URL=POSTGRESQL)

    assert result.exit_code == 0
    assert [secret for secret in (*secrets.values(), "hunter2") if secret in result.output] == []
    assert "AUTHSERVER_ROOT_SECRET\t********\tenvironment" in result.stdout.splitlines()
    assert "AUTHSERVER_DATABASE_URL\tpostgresql://server:***@db.example/authserver\tenvironment" in result.stdout


def test_unknown_variable_is_a_warning_with_the_nearest_name(invoke: Invoke) -> None:
    result = invoke("config", "show", "--dev", AUTHSERVER_POTR="1")

    assert result.exit_code == 0
    assert result.stderr == "warning: AUTHSERVER_POTR is no setting; did you mean AUTHSERVER_PORT?\n"
