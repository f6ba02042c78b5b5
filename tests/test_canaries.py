"""What looks through the leavings of a run finds what it must find, and no more. Threats E14, G15, G16; row X55."""

import json
import re
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol.audit_record import AuditRecord
from tests.builders import ROOT_SECRET, make_assertion
from tests.canaries import Finding, in_report, scan, scan_postgresql
from tests.cli.programs import PACKAGE_ROOT, environment
from tests.keys import key
from tests.postgres import PostgresCluster


def pem() -> str:
    """Return a private key."""
    return key().private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[no-any-return]


def private_jwk() -> str:
    """Return a private key as a client might send it."""
    number = key().private.private_numbers().private_value.to_bytes(48)
    return json.dumps({"kty": "EC", "d": b64encode(number, b"-_").decode().rstrip("=")})


PLANTED: dict[str, Callable[[], str]] = {
    "private key": pem,
    "private JWK": private_jwk,
    "secret": lambda: ROOT_SECRET,
    "secret in base64": lambda: b64encode(f"root:{ROOT_SECRET}".encode()).decode(),
    "signed token": make_assertion,
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is gone before the whole run is looked through."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("before", ["", "x" * ((1 << 24) - 200)], ids=["at the beginning", "over two pieces"])
def test_what_a_log_must_not_have_is_found(folder: Path, kind: str, before: str) -> None:
    """E14."""
    (folder / "serve.log").write_text(f"{before} line before {PLANTED[kind]()} line after\n")

    assert scan(folder) == [Finding(kind, "serve.log")]


@pytest.mark.parametrize("kind", PLANTED)
def test_what_a_row_must_not_have_is_found(folder: Path, kind: str) -> None:
    """G16: also where the row is longer than a page, so that the file has it in pieces."""
    with closing(sqlite3.connect(folder / "registry.db")) as connection:
        connection.execute("CREATE TABLE receipt (id TEXT, body TEXT)")
        rows = [("a", "fine"), ("b", "x" * 3_900 + PLANTED[kind]() + "x" * 9_000)]
        connection.executemany("INSERT INTO receipt VALUES (?, ?)", rows)
        connection.commit()

    assert scan(folder) == [Finding(kind, "registry.db")]


def test_what_an_audit_record_must_not_have_is_found(folder: Path) -> None:
    """X55, G15: a body of the audit is bytes, and its write-ahead log a file of its own."""
    engine = open_engine(f"sqlite:///{folder}/registry.db")
    upgrade(engine)
    stores = SqlStores(engine)
    stores.audit.append([AuditRecord("audit_read", 1, facts={"query": ROOT_SECRET})])
    found = scan(folder)
    stores.close()

    assert {finding.kind for finding in found} == {"secret"}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_a_table_of_postgresql_must_not_have_is_found(postgres: PostgresCluster, kind: str) -> None:
    """G16: and no more when it was taken out again, so that this test leaves nothing."""
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE planted (body text)")
        connection.execute("INSERT INTO planted VALUES (%s)", [PLANTED[kind]()])
        connection.execute("CHECKPOINT")
        found = scan_postgresql(postgres.folder)
        connection.execute("DROP TABLE planted")
        connection.execute("CHECKPOINT")
        after = scan_postgresql(postgres.folder)

    assert (found, after) == ([Finding(kind, found[0].place)], [])


def test_what_may_be_there_is_not_found(folder: Path) -> None:
    """The control: a key file, a file with one secret, public halves, and a checkpoint of the audit."""
    (folder / "key-1.pem").write_text(pem())
    (folder / "root-secret").write_text(f"{ROOT_SECRET}\n")
    (folder / "jwks.json").write_text(json.dumps({"keys": [key().jwk]}))
    checkpoint = key().sign({"sequence": 7, "hash": "0" * 64}, header={"typ": "audit-checkpoint+jwt"})
    (folder / "audit.log").write_text(f"a checkpoint {checkpoint}")

    assert scan(folder) == []


def test_a_key_file_with_more_in_it_is_no_key_file(folder: Path) -> None:
    """A rule that is wide excuses what it was not made for."""
    (folder / "key-1.pem").write_text(f"{pem()}{make_assertion()}\n")
    (folder / "secrets.txt").write_text(f"{ROOT_SECRET}\n{ROOT_SECRET}\n")

    assert scan(folder) == [
        Finding("private key", "key-1.pem"),
        Finding("signed token", "key-1.pem"),
        Finding("secret", "secrets.txt"),
    ]


def test_what_a_test_printed_is_found() -> None:
    """E14: captured output and logs; a report of a step that said nothing has none."""
    sections = [("Captured stdout call", f"said {ROOT_SECRET}"), ("Captured log call", "nothing")]
    loud = pytest.TestReport("a::b", ("a", 1, "b"), {}, "passed", None, "call", sections=sections)
    quiet = pytest.TestReport("a::b", ("a", 1, "b"), {}, "passed", None, "call")

    assert [*in_report(loud), *in_report(quiet)] == [Finding("secret", "a::b (Captured stdout call)")]


_RUN = """
def test_leaves_a_file(tmp_path):
    (tmp_path / "log").write_text("a line with {left}")

def test_prints():
    print("{said}")
"""


@pytest.mark.parametrize(
    ("planted", "workers", "code", "found"),
    [("nothing", "0", 0, []), (ROOT_SECRET, "1", 1, ["2 secrets, assertions or tokens were left"])],
    ids=["nothing", "in a worker"],
)
def test_a_run_that_left_something_fails(folder: Path, planted: str, workers: str, code: int, found: list[str]) -> None:
    """The exit status of the whole run, with a file and a print of one test, in the workers of `make test` too."""
    (folder / "conftest.py").write_text("from tests.canaries import no_canary_is_left, pytest_runtest_makereport\n")
    (folder / "test_it.py").write_text(_RUN.format(left=planted, said=planted))
    arguments = ["-q", "-n", workers, f"--basetemp={folder}/run", "-p", "no:cacheprovider", str(folder)]

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(PACKAGE_ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # Once or twice: where CI is set, the summary has the whole line too.
    told = set(re.findall(r"\d+ secrets, assertions or tokens were left", ended.stdout))
    assert (ended.returncode, told) == (code, set(found)), ended.stdout
