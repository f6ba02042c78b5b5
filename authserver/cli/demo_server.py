"""What the demo stands on: a real server process with folders of its own, and a real host for a client's key set.

Both are contexts; what was started is stopped by its process id, whatever happened meanwhile.
"""

import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import authserver
from authserver.cli.failures import Failure
from authserver.cli.first_start import read_secret
from authserver.cli.remote import Credentials
from authserver.cli.serving import answers
from authserver.fhir import demo_data
from authserver.fhir.definitions.tables import load_definitions
from authserver.fhir.loading import load_bundle
from authserver.fhir.store.port import FhirStore, WriteResult
from authserver.fhir.store.sql_store import open_store

START_SECONDS = 30.0
STOP_SECONDS = 15.0
_LOOPBACK = "127.0.0.1"
_JWKS_PATH = "/.well-known/jwks.json"


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running server: its URL, who its operator is, and how many resources were loaded before its start."""

    url: str
    operator: Credentials
    resources: int


@contextmanager
def demo_server() -> Iterator[DemoServer]:
    """Start a server in development mode on a free port, with demo patients in its FHIR database; stop it after."""
    with tempfile.TemporaryDirectory(prefix="authserver-demo-") as folder:
        instance, port = Path(folder, "instance"), free_port()
        instance.mkdir(mode=0o700)
        resources = _load_patients(f"sqlite:///{instance / 'fhir.sqlite3'}")
        with _process(Path(folder), port):
            secret = read_secret(instance / "root-secret")
            yield DemoServer(f"http://{_LOOPBACK}:{port}", Credentials("root", secret), resources)


@contextmanager
def key_host(jwk: Mapping[str, Any]) -> Iterator[str]:
    """Publish a key set with this one key on loopback, as a client does; yield its address."""
    document = json.dumps({"keys": [jwk]}).encode()
    server = http.server.ThreadingHTTPServer((_LOOPBACK, 0), partial(_KeySetHandler, document))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{_LOOPBACK}:{server.server_port}{_JWKS_PATH}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _KeySetHandler(http.server.BaseHTTPRequestHandler):
    """Serves one document at one path."""

    def __init__(self, document: bytes, *args: Any) -> None:
        self._document = document
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer with the key set."""
        if self.path != _JWKS_PATH:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "max-age=300")
        self.send_header("Content-Length", str(len(self._document)))
        self.end_headers()
        self.wfile.write(self._document)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's signature
        """Say nothing."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def load_patients(store: FhirStore, *, tenant: str, tag_system: str | None = None) -> list[WriteResult]:
    """Store the invented patients of the demo and all that belongs to them."""
    loaded = (load_bundle(store, one, tenant=tenant, tag_system=tag_system) for one in demo_data.bundles())
    return [result for results in loaded for result in results]


def _load_patients(database_url: str) -> int:
    store = open_store(database_url, load_definitions())
    try:
        return len(load_patients(store, tenant=""))
    finally:
        store.close()


@contextmanager
def _process(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "authserver.cli", "serve", "--dev", "--host", _LOOPBACK, "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- our own program
            command, cwd=folder, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait(process, port, log=log)
        yield
    finally:
        _stop(process)


def _environment(folder: Path) -> dict[str, str]:
    """Return this process's environment without its own server's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSERVER_")}
    package = str(Path(authserver.__file__).parents[1])
    paths = [package, *kept.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "AUTHSERVER_INSTANCE_DIR": str(folder / "instance"),
        "AUTHSERVER_KEYS_DIR": str(folder / "keys"),
    }


def _wait(process: subprocess.Popen[bytes], port: int, *, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers(_LOOPBACK, port):
            return
        time.sleep(0.05)
    told = "\n".join(log.read_text("utf-8", "replace").splitlines()[-10:])
    raise Failure(f"The server did not start.\n{told}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
