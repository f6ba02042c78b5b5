"""What tests of every layer share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver import clock
from authserver.app import Parts
from tests.builders import ROOT_SECRET, make_parts, make_settings
from tests.canaries import no_canary_is_left, pytest_runtest_makereport
from tests.http import Server, make_app
from tests.postgres import postgres

__all__ = ["no_canary_is_left", "postgres", "pytest_runtest_makereport"]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """The adapters of one server, in memory."""
    return make_parts(tmp_path)


@pytest.fixture
def server(tmp_path: Path, parts: Parts) -> Iterator[Server]:
    """An authorization server in memory with the client `root`, spoken to by HTTP requests."""
    settings = make_settings(tmp_path)
    server = Server(make_app(settings, parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    yield server
    parts.stores.close()
