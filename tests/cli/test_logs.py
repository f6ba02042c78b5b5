"""Log lines: whole, one a line, and never in the way of a request (fault 16)."""

import json
import os
from pathlib import Path

import pytest

from authserver.cli.logs import Lines
from tests.cli.programs import serving


def test_a_line_is_written_in_one_piece() -> None:
    reading, writing = os.pipe()

    Lines(writing).info(b'{"event": "x"}\n')

    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b'{"event": "x"}\n'


@pytest.mark.parametrize("broken", ["full", "closed"])
def test_a_line_that_cannot_be_written_is_lost_without_an_error(broken: str) -> None:
    """A full disk, a closed pipe."""
    if broken == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)

    written = Lines(descriptor).error(b"lost\n")

    os.close(descriptor)
    assert written is None


def test_every_line_of_a_server_is_a_json_object_with_level_and_time(tmp_path: Path) -> None:
    with serving(tmp_path, "auth", "--dev", variables={"AUTHSERVER_LOG_FORMAT": "json"}) as server:
        refused = server.get("/Client")
        lines = [json.loads(line) for line in server.logged.splitlines()]

    (line,) = [line for line in lines if line["event"] == "refused"]
    assert line["request_id"] == refused.headers["X-Request-Id"]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


def test_metrics_are_of_all_workers_and_for_this_host(tmp_path: Path) -> None:
    """Counted in the workers, told by any of them."""
    with serving(tmp_path, "auth", "--dev") as server:
        for _ in range(3):
            server.get("/healthz")
        told = server.get("/metrics").text
        behind_a_proxy = server.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code

    (line,) = [
        line for line in told.splitlines() if line.startswith('authserver_request_seconds_count{endpoint="/healthz"')
    ]
    assert float(line.split()[-1]) >= 3
    assert "authserver_signing_key_age_seconds{kid=" in told
    assert behind_a_proxy == 404
