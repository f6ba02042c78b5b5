"""Run the command `authserver` as real processes on free ports, in folders of their own, stopped by process id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from authserver.cli.demo_server import free_port
from authserver.cli.remote import Credentials, Remote
from authserver.cli.serving import answers

PACKAGE_ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "authserver.cli")
LOOPBACK = "127.0.0.1"


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without any setting of ours, then with these; refusals have no limit unless they say one.

    A test sends more hostile requests from one address than any address should.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHSERVER_", "COV_"))}
    unlimited = {"AUTHSERVER_CLIENT_FAILURES": "0", "AUTHSERVER_SOURCE_FAILURES": "0"}
    return {**kept, **unlimited, "PYTHONPATH": str(PACKAGE_ROOT), "PYTHONWARNINGS": "default", **variables}


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end in this folder."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Running:
    """A server process: where it listens, where its files are, what it said."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    port: int
    output: Path
    log: Path

    @property
    def url(self) -> str:
        """Its URL on loopback."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def said(self) -> str:
        """What it wrote to stdout so far."""
        return self.output.read_text("utf-8")

    @property
    def logged(self) -> str:
        """What it wrote to stderr so far."""
        return self.log.read_text("utf-8")

    @property
    def generated_secret(self) -> str:
        """The root secret that its first start made."""
        return (self.folder / "instance" / "root-secret").read_text("utf-8").strip()

    def remote(self, secret: str | None = None) -> Remote:
        """Return the server as the operator sees it."""
        return Remote(self.url, Credentials("root", secret or self.generated_secret))

    def get(self, path: str, **options: object) -> requests.Response:
        """Send one GET."""
        return requests.get(f"{self.url}{path}", timeout=5, **options)  # type: ignore[arg-type]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    port: int | None = None,
    variables: Mapping[str, str] | None = None,
    program: Sequence[str] = COMMAND,
) -> Iterator[Running]:
    """Start `authserver serve` and wait for its first answer; whatever happens, it is stopped afterwards."""
    chosen, name = port or free_port(), "-".join(("serve", *arguments))
    output, log = folder / f"{name}.out", folder / f"{name}.log"
    with output.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [*program, "serve", *arguments, "--port", str(chosen)],
            cwd=folder,
            env=environment(**(variables or {})),
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
        )
    server = Running(process, folder, chosen, output, log)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def _wait_until_ready(server: Running) -> None:
    deadline = time.monotonic() + 20
    while "authserver is ready" not in server.said:
        assert server.process.poll() is None, server.logged
        assert time.monotonic() < deadline, server.logged
        time.sleep(0.05)
    assert answers(LOOPBACK, server.port)
