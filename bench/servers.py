"""The servers of the bench as processes: ours, and the peers that are installed, each with the same clients."""

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from authserver.cli.demo_server import free_port
from bench.bodies import JWT_BEARER, SCOPE, BenchKey
from bench.machine import children
from bench.wrk import pinned

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).with_name("peers")
OIDC_PROVIDER = "oidc-provider@9.13.3"
RESOURCE_SERVER, SECRET = "resource-server", "r" * 40
START_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A server that runs. `processes` are those that serve, for their processor time and memory."""

    name: str
    base: str
    token_url: str
    introspection_url: str
    audience: str
    process: "subprocess.Popen[bytes]"
    folder: Path
    root_secret: str = field(default="", repr=False)
    started_after: float = 0.0
    bearer: str = field(default="", repr=False)

    @property
    def processes(self) -> list[int]:
        """The processes that serve: the children of ours, else the process itself."""
        return children(self.process.pid) or [self.process.pid]

    @property
    def authorization(self) -> str:
        """The Authorization header of the resource server that asks about tokens: its access token, else its secret."""
        if self.bearer:
            return f"Bearer {self.bearer}"
        return "Basic " + base64.b64encode(f"{RESOURCE_SERVER}:{SECRET}".encode()).decode()


def client_of(algorithm: str) -> str:
    """Return the id of the bench's client for an algorithm."""
    return f"bench-{algorithm.lower()}"


def client_resource(key: BenchKey) -> dict[str, object]:
    """Return the registration of a client of the bench."""
    return {
        "type": "bulk-api-client",
        "active": True,
        "grant_types": ["client_credentials"],
        "scope": SCOPE.split(" "),
        "auth": {"client_credentials": {"client_assertion_types": [JWT_BEARER], "access_token_expiration": 300}},
        "jwks": {"keys": [key.jwk]},
    }


@contextmanager
def ours(
    folder: Path,
    keys: Sequence[BenchKey],
    *,
    name: str = "authserver",
    database: str | None = None,
    workers: int = 1,
    audit: bool = True,
    part: Sequence[str] = ("auth",),
    more: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run our server; on SQLite in the folder without a `database`. One worker has core 0, two have both.

    `part` is what it serves, () for both parts; `more` are further settings.
    """
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    settings = {"AUTHSERVER_LOG_FORMAT": "json", "PYTHONPATH": str(ROOT)}
    settings |= {"AUTHSERVER_CLIENT_FAILURES": "0", "AUTHSERVER_SOURCE_FAILURES": "0"}  # refusals are measured, too
    settings |= {"MALLOC_MMAP_THRESHOLD_": "1048576"}  # as docs/deploy sets it
    settings |= {"AUTHSERVER_DATABASE_URL": database} if database else {}
    settings |= {} if audit else {"AUTHSERVER_AUDIT": "false"}
    settings |= more or {}
    command = [sys.executable, "-m", "authserver.cli", "serve", *part, "--dev", "--port", str(port)]
    command += ["--workers", str(workers)] if workers > 1 else []
    folder.mkdir(exist_ok=True)
    with running(command, folder, settings, core=0 if workers == 1 else None, url=f"{base}/readyz") as (
        process,
        seconds,
    ):
        secret = (folder / "instance" / "root-secret").read_text().strip()
        urls = (f"{base}/auth/token", f"{base}/auth/introspect", base)
        server = Server(name, base, *urls, process, folder, secret, started_after=seconds)
        _register(server, keys)
        yield server


def _register(server: Server, keys: Sequence[BenchKey]) -> None:
    caller = {"type": "resource-server", "active": True, "grant_types": ["basic"], "scope": ["__introspect"]}
    put(server, f"Client/{RESOURCE_SERVER}", {**caller, "secret": SECRET})
    link = [{"id": RESOURCE_SERVER, "resourceType": "Client"}]
    put(server, f"AccessPolicy/{RESOURCE_SERVER}", {"engine": "allow", "link": link})
    for key in keys:
        put(server, f"Client/{client_of(key.algorithm)}", client_resource(key))


def put(server: Server, path: str, body: Mapping[str, object]) -> None:
    """PUT a resource as the operator; raises RuntimeError when it is refused."""
    answer = requests.put(f"{server.base}/{path}", json=body, auth=("root", server.root_secret), timeout=10)
    if answer.status_code not in (200, 201):
        raise RuntimeError(f"PUT {path}: {answer.status_code} {answer.text[:300]}")


@contextmanager
def bare_http(folder: Path) -> Iterator[Server]:
    """Run the least that answers over HTTP; see bench.bare_http."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bench.bare_http", str(port)]
    with running(command, folder, {"PYTHONPATH": str(ROOT)}, core=0, url=base) as (process, _):
        yield Server("HTTP alone", base, base, base, base, process, folder)


def oidc_provider_folder() -> Path | None:
    """Return where the node peer is installed, installing it when npm is there; None without node, npm or a network."""
    folder = PEERS / "installed"
    if (folder / "node_modules" / "oidc-provider").is_dir():
        return folder
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", OIDC_PROVIDER]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True)
    return folder if done.returncode == 0 else None


@contextmanager
def oidc_provider(folder: Path, keys: Sequence[BenchKey], *, tokens: str, installed: Path) -> Iterator[Server]:
    """Run node-oidc-provider, everything in memory; `tokens` is `jwt` or `opaque`."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    (folder / "keys.json").write_text(json.dumps([key.jwk for key in keys]))
    shutil.copy(PEERS / "oidc_provider.mjs", installed)
    command = ["node", str(installed / "oidc_provider.mjs"), str(port), str(folder / "keys.json"), tokens, SECRET]
    with running(command, folder, {}, core=0, url=f"{base}/.well-known/openid-configuration") as (process, _):
        urls = (f"{base}/token", f"{base}/token/introspection", base)
        yield Server(f"node-oidc-provider, {tokens}, in memory", base, *urls, process, folder)


@contextmanager
def authlib_on_flask(folder: Path, keys: Sequence[BenchKey]) -> Iterator[Server]:
    """Run Authlib's server as its documentation shows, on Flask, SQLite and gunicorn with threads."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    (folder / "keys.json").write_text(json.dumps([key.jwk for key in keys]))
    settings = {
        "BENCH_FOLDER": str(folder),
        "BENCH_SECRET": SECRET,
        "BENCH_BASE": base,
        "AUTHLIB_INSECURE_TRANSPORT": "1",
    }
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(PEERS), "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "60", "authlib_flask:application"]
    with running(command, folder, settings, core=0, url=f"{base}/healthz") as (process, _):
        urls = (f"{base}/oauth/token", f"{base}/oauth/introspect", f"{base}/oauth/token")
        yield Server("Authlib on Flask, SQLite, gunicorn", base, *urls, process, folder)


@contextmanager
def fhir_alone(folder: Path, authorizing: Server, *, settings: Mapping[str, str], port: int) -> Iterator[Server]:
    """Run the FHIR layer as a process of its own that asks the other server about tokens; both have core 0."""
    base = f"http://127.0.0.1:{port}"
    own = {
        "AUTHSERVER_ISSUER": authorizing.base,
        "AUTHSERVER_FHIR_BASE_URL": f"{base}/fhir",
        "AUTHSERVER_INTROSPECTION_URL": authorizing.introspection_url,
        "AUTHSERVER_FHIR_CLIENT_ID": RESOURCE_SERVER,
        "AUTHSERVER_FHIR_CLIENT_SECRET": SECRET,
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "authserver.cli", "serve", "fhir", "--dev", "--port", str(port)]
    with running(command, folder, own, core=0, url=f"{base}/readyz") as (process, _):
        yield Server("the FHIR layer alone", base, *("", "", base), process, folder)


@contextmanager
def running(
    command: list[str], folder: Path, settings: Mapping[str, str], *, core: int | None, url: str
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Run a server in its folder until the block ends; give the process, and the seconds until `url` answered 200.

    Raises RuntimeError when it does not.
    """
    # Compiled files are kept as after an installation, where the second start finds them.
    unwanted = ("AUTHSERVER_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    began = time.perf_counter()
    with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            pinned(command, core=core), cwd=folder, env={**kept, **settings}, stdout=out, stderr=log
        )
    try:
        wait_until_up(process, url, log=folder / "log")
        yield process, time.perf_counter() - began
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_up(process: "subprocess.Popen[bytes]", url: str, *, log: Path) -> None:
    """Wait until the server answers 200; raises RuntimeError when it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=1).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.005)
    raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}")


def new_folder(parent: Path, name: str) -> Path:
    """Return a folder that is not there yet."""
    return parent / f"{name}-{secrets.token_hex(3)}"
