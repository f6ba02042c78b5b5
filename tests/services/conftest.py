"""What the services' tests share."""

from pathlib import Path

import pytest

from tests.services.memory_server import Server, open_server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server with the documented client."""
    opened = open_server(tmp_path)
    opened.register()
    return opened
