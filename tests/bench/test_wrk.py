"""The load driver sends each prepared body once and reports refusals. Runs against a real loopback server."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.wrk import Load, LoadFailed, drive, parse


class Recorder(BaseHTTPRequestHandler):
    """Remembers each body; refuses the one named `bad`."""

    protocol_version = "HTTP/1.1"
    bodies: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.bodies.append(body)
        self.send_response(400 if body == "bad" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class names it so
        return


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[str]]]:
    bodies: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneRun", (Recorder,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_summary_line_is_read() -> None:
    assert parse("noise\nBENCH 100 2000000 10 20 3 4\n") == Load(100, 2_000_000, 10, 20, 3, 4)


def test_output_without_a_summary_is_an_error() -> None:
    with pytest.raises(LoadFailed):
        parse("unable to connect")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is a system package")
def test_each_body_is_sent_at_most_once(recorder: tuple[str, list[str]], tmp_path: Path) -> None:
    url, bodies = recorder
    prepared = [f"n={number}" for number in range(100_000)]
    (tmp_path / "bodies").write_text("\n".join(prepared))

    load = drive(url, tmp_path / "bodies", connections=2, seconds=1, core=None)

    assert len(bodies) == len(set(bodies))
    assert (load.refused, load.broken) == (0, 0)
    assert load.requests > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is a system package")
def test_refused_requests_are_counted(recorder: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = recorder
    (tmp_path / "bodies").write_text("bad\n" * 100_000)

    load = drive(url, tmp_path / "bodies", connections=1, seconds=1, core=None)

    assert load.refused == load.requests > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is a system package")
def test_a_used_up_file_repeats_nothing(recorder: tuple[str, list[str]], tmp_path: Path) -> None:
    url, bodies = recorder
    (tmp_path / "bodies").write_text("\n".join(f"n={number}" for number in range(50)))

    drive(url, tmp_path / "bodies", connections=4, seconds=1, core=None)

    sent = [body for body in bodies if body]
    assert len(sent) == len(set(sent)) > 0
