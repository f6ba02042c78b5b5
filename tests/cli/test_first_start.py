"""What is made before any worker runs, and what refuses to start. F08, G13."""

import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from authserver.adapters.key_files import KeyFilesError
from authserver.adapters.sql import revision
from authserver.adapters.sql.engine import open_engine
from authserver.cli import configuration
from authserver.cli.configuration import Configuration
from authserver.cli.failures import Failure
from authserver.cli.first_start import make_private, prepare, read_secret, write_private

pytestmark = pytest.mark.usefixtures("clean_environment", "private_umask")
PRODUCTION = {"issuer": "https://auth.example"}
GIVEN = "correct horse battery staple"


def load(**changes: Any) -> Configuration:
    """Return the configuration of a server in production, with changes."""
    return configuration.load("both", **{**PRODUCTION, **changes})


def mode(path: str | Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(Path(path).stat().st_mode)


def make_schema_old() -> None:
    """Say that the registry's database has a schema of another version."""
    engine = open_engine(load().settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    engine.dispose()


def test_first_start_makes_everything_and_the_second_nothing() -> None:
    first = prepare(load(), "both")
    made = {path: path.read_bytes() for path in Path.cwd().glob("*/*") if path.suffix in (".pem", "")}

    second = prepare(load(), "both")

    secret_file = Path.cwd() / "instance" / "root-secret"
    assert first.root_secret_file == second.root_secret_file == secret_file
    assert first.new_root_secret == secret_file.read_text().strip()
    assert second.new_root_secret is None
    assert {path: path.read_bytes() for path in made} == made
    assert (mode("instance"), mode("keys"), mode(secret_file)) == (0o700, 0o700, 0o600)


def test_fhir_part_alone_makes_no_key_and_no_root() -> None:
    prepared = prepare(load(), "fhir")

    assert (prepared.root_secret_file, prepared.new_root_secret) == (None, None)
    assert [path.name for path in Path.cwd().iterdir()] == ["instance"]


def test_secret_file_without_a_root_is_taken_as_the_secret() -> None:
    """A crash between writing the secret and registering root loses nothing."""
    Path("instance").mkdir(0o700)
    write_private(Path("instance/root-secret"), f"{GIVEN}\n")

    prepared = prepare(load(), "auth")

    assert prepared.new_root_secret is None
    assert read_secret(Path("instance/root-secret")) == GIVEN


def test_secret_file_open_to_others_is_not_taken() -> None:
    Path("instance").mkdir(0o700)
    write_private(Path("instance/root-secret"), GIVEN)
    Path("instance/root-secret").chmod(0o640)

    with pytest.raises(Failure) as refused:
        prepare(load(), "auth")

    assert refused.value.message.endswith("and change the secret if it was read.")


def test_secret_of_the_environment_makes_the_written_one_stale() -> None:
    prepare(load(), "auth")

    prepared = prepare(load(root_secret=GIVEN), "auth")

    assert prepared.notes == (
        f"{Path.cwd() / 'instance' / 'root-secret'} no longer holds the secret of root: "
        "AUTHSERVER_ROOT_SECRET decides. Delete the file.",
    )


def test_old_schema_refuses_to_start_in_production() -> None:
    prepare(load(), "auth")
    make_schema_old()

    with pytest.raises(Failure) as refused:
        prepare(load(), "auth")

    assert refused.value.message == (
        "The database has another schema than this version needs: run `authserver db upgrade`."
    )


def test_key_open_to_others_refuses_to_start() -> None:
    """F08."""
    prepare(load(), "auth")
    (key,) = Path("keys").glob("*.pem")
    key.chmod(0o644)

    with pytest.raises(KeyFilesError):
        prepare(load(), "auth")

    key.chmod(0o600)
    assert prepare(load(), "auth").root_secret_file is not None


def test_open_folder_with_nothing_in_it_is_closed() -> None:
    """A fresh clone has the folders with the usual mode."""
    Path("keys").mkdir(0o755)
    Path("keys/.gitignore").write_text("*\n")

    make_private(Path("keys"))

    assert mode("keys") == 0o700


def test_open_folder_with_something_in_it_is_left_to_its_owner() -> None:
    Path("keys").mkdir(0o755)
    Path("keys/a.pem").write_text("a key")

    make_private(Path("keys"))

    assert mode("keys") == 0o755


def test_upgrade_is_not_refused_on_a_current_schema() -> None:
    prepare(load(), "auth")
    engine = open_engine(load().settings.database_url)

    current = revision.is_current(engine)
    engine.dispose()

    assert current
