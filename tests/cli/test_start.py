"""What a start loads: nothing that only other servers need (docs/adr/010)."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.programs import environment
from tests.postgres import PostgresCluster

SELDOM = (
    "alembic",
    "authlib",
    "awscrt",
    "jsonpatch",
    "jsonschema",
    "psycopg",
    "requests",
    "sqlalchemy.dialects.postgresql",
    "urllib3",
    "yaml",
)
# What a worker does, after its parent has prepared, the schema's making included: a server's modules are those of both.
START = f"""
import json
import sys
from authserver.cli import configuration, first_start, serving, wsgi
first_start.prepare(configuration.load("auth"), "auth")
wsgi.auth()
print(json.dumps(sorted(set({SELDOM!r}) & set(sys.modules))))
"""


def loaded(folder: Path, **settings: str) -> list[str]:
    """Return which of the seldom needed libraries a start loads."""
    variables = environment(AUTHSERVER_DEV="true", AUTHSERVER_LOG_FORMAT="json", **settings)
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_start_on_sqlite_loads_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    """What costs time and memory at each start is what each start needs."""
    assert loaded(tmp_path) == []


def test_a_start_on_postgresql_loads_its_driver(tmp_path: Path, postgres: PostgresCluster) -> None:
    """The positive control: the same look finds what is loaded."""
    assert loaded(tmp_path, AUTHSERVER_DATABASE_URL=postgres.create_database()) == [
        "psycopg",
        "sqlalchemy.dialects.postgresql",
    ]
