"""Log lines: whole, one a line, and never in the way of a request (fault 16)."""

import json
import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from authserver.cli.logs import Lines
from tests.cli.programs import serving
from tests.faults.servers import ServerGroup
from tests.faults.servers import serving as starting


def test_a_line_is_written_in_one_piece() -> None:
    reading, writing = os.pipe()

    with closing(Lines(writing)) as lines:
        lines.info(b'{"event": "x"}\n')

    got = os.read(reading, 1024)
    os.close(reading)
    os.close(writing)
    assert got == b'{"event": "x"}\n'


@pytest.mark.parametrize("broken", ["full", "closed"])
def test_a_line_that_cannot_be_written_is_lost_without_an_error(broken: str) -> None:
    """A full disk, a closed pipe."""
    if broken == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)

    with closing(Lines(descriptor)) as lines:
        written = lines.error(b"lost\n")

    os.close(descriptor)
    assert written is None


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_line_that_would_have_to_wait_for_a_reader_is_lost(kind: str) -> None:
    """Fault 16: a pipe that nobody reads fills up; the request must not wait for room in it."""
    reading, writing = os.pipe() if kind == "pipe" else (end.detach() for end in socket.socketpair())
    line = b"x" * 1023 + b"\n"

    with closing(Lines(writing)) as lines:
        for _ in range(8_000):
            lines.info(line)

    got = os.read(reading, len(line))
    os.close(reading)
    os.close(writing)
    assert got == line


def test_a_server_whose_output_was_closed_serves(tmp_path: Path) -> None:
    """Fault 16: and what it would print ends in no other file."""
    group = ServerGroup(tmp_path, prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"), replaced=True)

    with starting(group):
        open_files = [os.readlink(f"/proc/{group.worker_pids()[0]}/fd/{number}") for number in range(3)]

    assert open_files == [os.devnull] * 3


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
