"""AUTHSERVER_INIT_BUNDLE at a start. Registry rule "init bundle"."""

from collections.abc import Callable
from pathlib import Path

import pytest

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
from authserver.cli import configuration
from authserver.cli.demo_server import free_port
from authserver.cli.failures import WrongSettings
from authserver.cli.first_start import prepare
from tests.cli.programs import run, serving

Start = Callable[..., str | None]

BUNDLE = """
resourceType: Bundle
type: transaction
entry:
  - request: {method: PUT, url: /Client/clinic}
    resource:
      active: true
      grant_types: [client_credentials]
      scope: [system/Patient.rs]
      jwks_uri: https://${CLINIC_HOST}/jwks.json
  - request: {method: PUT, url: /AccessPolicy/clinic}
    resource:
      engine: allow
      link: [{reference: Client/clinic}]
"""


@pytest.fixture
def start(clean_environment: None, private_umask: None, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Make everything ready for serving in the current folder, with a bundle of this text."""
    monkeypatch.setenv("CLINIC_HOST", "clinic.example")

    def prepared(text: str, name: str = "init.yaml") -> str | None:
        Path(name).write_text(text)
        loaded = configuration.load("auth", issuer="https://auth.example", init_bundle=name)
        return prepare(loaded, "auth").registered

    return prepared


def versions() -> list[tuple[int, str]]:
    """Return version and jwks_uri of the client in the registry of the current folder, newest first."""
    loaded = configuration.load("auth", issuer="https://auth.example")
    stores = SqlStores(open_engine(loaded.settings.database_url))
    history = stores.resources.history("Client", "clinic")
    stores.close()
    return [(version.version_id, version.body["jwks_uri"]) for version in history]


def test_a_start_registers_the_bundle_and_the_next_changes_nothing(start: Start) -> None:
    first, second = (start(BUNDLE) for _ in range(2))

    assert (first, second) == ("2 created, 0 changed, 0 unchanged", "0 created, 0 changed, 2 unchanged")
    assert versions() == [(1, "https://clinic.example/jwks.json")]


def test_another_value_of_a_variable_is_another_version(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start(BUNDLE)
    monkeypatch.setenv("CLINIC_HOST", "new.example")

    again = start(BUNDLE)

    assert again == "0 created, 1 changed, 1 unchanged"
    assert [uri for _, uri in versions()] == ["https://new.example/jwks.json", "https://clinic.example/jwks.json"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("system/Patient.rs", "system/Patient.sr", "entry[0].resource.scope[0]: not a SMART scope"),
        ("CLINIC_HOST", "NOT_SET", "entry[0].resource.jwks_uri: the variable NOT_SET is not set"),
        ("Client/clinic}]", "Client/other}]", "entry[1].resource.link: no such Client: other"),
        ("transaction", "batch", "type: must be transaction"),
        ("method: PUT, url: /Client", "method: POST, url: /Client", "entry[0].request: must be"),
        ("engine: allow", "engine: [", "not well-formed YAML (line"),
    ],
)
def test_a_bundle_that_is_wrong_refuses_the_start_with_its_path(start: Start, old: str, new: str, said: str) -> None:
    with pytest.raises(WrongSettings) as refused:
        start(BUNDLE.replace(old, new))

    assert (refused.value.exit_code, refused.value.message.count("\n")) == (2, 0)
    assert refused.value.message.startswith(f"AUTHSERVER_INIT_BUNDLE: init.yaml: {said}")


def test_a_bundle_that_is_not_there_refuses_the_start(clean_environment: None, private_umask: None) -> None:
    loaded = configuration.load("auth", issuer="https://auth.example", init_bundle="nowhere.json")

    with pytest.raises(WrongSettings, match=r"^AUTHSERVER_INIT_BUNDLE: nowhere\.json: No such file"):
        prepare(loaded, "auth")


def test_a_server_starts_with_its_bundle_and_says_so(tmp_path: Path) -> None:
    """A real process; and one whose bundle is wrong ends with code 2 and the path."""
    (tmp_path / "init.yaml").write_text(BUNDLE)
    variables = {"AUTHSERVER_INIT_BUNDLE": "init.yaml", "CLINIC_HOST": "clinic.example"}
    with serving(tmp_path, "auth", "--dev", variables=variables) as server:
        said, found = server.said, server.remote().find("Client", "clinic")

    port = str(free_port())
    refused = run(tmp_path, "serve", "auth", "--dev", "--port", port, AUTHSERVER_INIT_BUNDLE="init.yaml")

    assert "  registry    init.yaml: 2 created, 0 changed, 0 unchanged" in said
    assert found is not None
    assert found["jwks_uri"] == "https://clinic.example/jwks.json"
    wrong = "AUTHSERVER_INIT_BUNDLE: init.yaml: entry[0].resource.jwks_uri: the variable CLINIC_HOST is not set"
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (2, f"error: {wrong}")
