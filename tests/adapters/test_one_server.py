"""SQLite: which versions are taken, and that one server at a time has the file."""

import subprocess
import sys
from pathlib import Path

import pytest

from authserver.adapters.sql.one_server import has_wal_reset_bug, hold_sqlite, require_version
from authserver.errors import StorageUnavailable


def test_version_without_returning_is_refused() -> None:
    with pytest.raises(StorageUnavailable) as refusal:
        require_version((3, 34, 1))

    assert (refusal.value.reason, refusal.value.detail) == (
        "sqlite_too_old",
        "SQLite is 3.34.1; 3.35.0 or later is needed",
    )
    require_version((3, 35, 0))


def test_versions_with_the_wal_reset_bug_are_known() -> None:
    found = {version: has_wal_reset_bug(version) for version in [(3, 40, 1), (3, 51, 2), (3, 51, 3), (3, 53, 0)]}

    assert found == {(3, 40, 1): True, (3, 51, 2): True, (3, 51, 3): False, (3, 53, 0): False}


def test_second_server_on_a_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    with hold_sqlite(url), pytest.raises(StorageUnavailable) as refusal:
        hold_sqlite(url)

    with hold_sqlite(url), hold_sqlite(f"sqlite:///{tmp_path}/other.db"):
        assert refusal.value.reason == "sqlite_in_use"


def test_second_name_of_the_file_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "alias.db").symlink_to(tmp_path / "registry.db")

    with hold_sqlite(f"sqlite:///{tmp_path}/registry.db"), pytest.raises(StorageUnavailable) as refusal:
        hold_sqlite(f"sqlite:///{tmp_path}/alias.db")

    assert refusal.value.reason == "sqlite_in_use"


HOLDER = """
import sys
from authserver.adapters.sql.one_server import hold_sqlite
held = hold_sqlite(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_killed_server_leaves_the_file_to_the_next(tmp_path: Path) -> None:
    """Fault 1: nothing has to be cleaned up after kill -9."""
    url = f"sqlite:///{tmp_path}/registry.db"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StorageUnavailable) as refusal:
        hold_sqlite(url)

    process.kill()
    process.communicate()

    assert refusal.value.reason == "sqlite_in_use"
    hold_sqlite(url).close()


def test_postgresql_has_nothing_to_hold() -> None:
    with hold_sqlite("postgresql://nobody@/none") as first, hold_sqlite("postgresql://nobody@/none") as second:
        assert first is not second
