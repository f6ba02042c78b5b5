"""After the whole run: no secret, assertion or token is in what the servers of the tests left or said.

Imported into tests/conftest.py. Each process of the run looks through its temporary folders, the database cluster that
it started, and what tests printed and logged; what it finds fails the run. Threats E14, G15, G16; row X55.

What may be there, by rule: a file that is a key and nothing else; a file that holds one secret and nothing else; a
checkpoint of the audit, which is a JWS and no credential.
"""

import base64
import json
import re
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import ROOT_SECRET

CHUNK = 1 << 24
OVERLAP = 1 << 15
FIRST_OWN_TABLE = 16_384
"""The first number that PostgreSQL gives to what its users make (FirstNormalObjectId)."""

MAX_FILE = 1 << 28
"""Bytes of a file that are looked at."""

_JWS = re.compile(rb"(eyJ[\w-]{10,2000})\.eyJ[\w-]{10,15000}\.[\w-]{40,1000}")
_BASIC = base64.b64encode(f"root:{ROOT_SECRET}".encode())[:-4]
# Each with a text that is in whatever it finds: looking for that first is many times faster.
_PATTERNS = {
    # With something of the key behind the line, after line breaks as they are or as JSON writes them.
    "private key": (
        b"PRIVATE KEY-----",
        re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:\s|\\[nr])*[A-Za-z0-9+/]{16}"),
    ),
    "private JWK": (b'"d"', re.compile(rb'"d" ?: ?"[\w-]{40,}"')),
    "secret": (b"canary-", re.compile(rb"canary-(?:[a-z]+-)?secret")),
    "secret in base64": (_BASIC, re.compile(re.escape(_BASIC))),
}
_CHECKPOINT = "audit-checkpoint+jwt"
_KEY_FILE = re.compile(rb"\s*(?:-----BEGIN [A-Z ]+-----[\w+/=\s]+-----END [A-Z ]+-----\s*)+")
_SECRET_FILE = re.compile(rb"canary-[a-z -]{1,60}\n?")
_SQLITE = b"SQLite format 3\0"
MAX_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and where; never the thing itself."""

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}"


SAID = pytest.StashKey[list[Finding]]()


def kinds(content: bytes) -> set[str]:
    """Return what of all that must not be there is in these bytes."""
    found = {kind for kind, (sign, pattern) in _PATTERNS.items() if sign in content and pattern.search(content)}
    if b"eyJ" in content and any(not _is_checkpoint(match[1]) for match in _JWS.finditer(content)):
        found.add("signed token")
    return found


def _is_checkpoint(header: bytes) -> bool:
    try:
        said = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("typ") == _CHECKPOINT


def scan(folder: Path) -> list[Finding]:
    """Look through every file below the folder, databases also row by row, for a row may be spread over pages."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [Finding(kind, str(path.relative_to(folder))) for path in files for kind in sorted(in_file(path))]


def in_file(path: Path) -> set[str]:
    """Return what must not be in this file and is."""
    try:
        with path.open("rb") as file:
            first = file.read(CHUNK)
            if is_key_or_secret(first):
                return set()
            found, chunk, read = kinds(first), first, len(first)
            while len(chunk) == CHUNK and read < MAX_FILE:
                tail, chunk = chunk[-OVERLAP:], file.read(CHUNK)
                found |= kinds(tail + chunk)
                read += len(chunk)
    except OSError:
        return set()  # gone meanwhile, or a socket
    return found | (in_rows(path) if first.startswith(_SQLITE) else set())


def is_key_or_secret(content: bytes) -> bool:
    """Say whether the file is a key, or one line with a secret, and nothing else: it was asked for as that."""
    return any(form.fullmatch(content) for form in (_KEY_FILE, _SECRET_FILE))


def in_rows(path: Path) -> set[str]:
    """Return what is in the rows of a SQLite file; of a damaged one, in those that can be read."""
    found: set[str] = set()
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            connection.text_factory = bytes
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                for row in connection.execute(f'SELECT * FROM "{name.decode()}"'):
                    found |= kinds(b"\0".join(value for value in row if isinstance(value, bytes)))
    except sqlite3.DatabaseError:
        pass
    return found


def scan_postgresql(folder: Path) -> list[Finding]:
    """Look through the log of a cluster and the tables that the tests made in it, not through its own catalogues."""
    files = sorted((folder / "data" / "base").glob("*/[0-9]*"))
    made = [path for path in files if int(re.split(r"[._]", path.name)[0]) >= FIRST_OWN_TABLE]
    return [Finding(kind, path.name) for path in [*made, folder / "log"] for kind in sorted(in_file(path))]


def in_report(report: pytest.TestReport) -> Iterator[Finding]:
    """Yield what a step of a test printed or logged, its servers' logs within it, that it must not."""
    for name, text in report.sections:
        if report.when in name or report.when == "call":
            for kind in sorted(kinds(text.encode("utf-8", "replace"))):
                yield Finding(kind, f"{report.nodeid} ({name})")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at what each step of a test said; what is found is told when all is over."""
    report = yield
    item.config.stash.setdefault(SAID, []).extend(in_report(report))
    return report


@pytest.fixture(scope="session", autouse=True)
def no_canary_is_left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run when it left or said what it must not: the first fixture of all, so the last one to end."""
    yield
    require_none([*request.config.stash.get(SAID, []), *scan(tmp_path_factory.getbasetemp())])


def require_none(findings: Sequence[Finding]) -> None:
    """Fail when anything was found."""
    if findings:
        shown = "\n".join(map(str, findings[:MAX_SHOWN]))
        pytest.fail(f"{len(findings)} secrets, assertions or tokens were left:\n{shown}", pytrace=False)
