"""Run docs/deploy/nginx.conf itself, with other ports and a certificate made for the test."""

import datetime as dt
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authserver.cli.demo_server import free_port

FILES = Path(__file__).parents[2] / "docs" / "deploy"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its URL, the certificate to believe, and its log."""

    url: str
    certificate: Path
    log: Path

    def session(self) -> requests.Session:
        """Return a session that believes its certificate."""
        session = requests.Session()
        session.trust_env = False  # a variable that names other authorities would win
        session.verify = str(self.certificate)
        return session

    def get(self, path: str, **options: object) -> requests.Response:
        """Send one GET."""
        with self.session() as session:
            return session.get(f"{self.url}{path}", timeout=10, **options)  # type: ignore[arg-type]

    def post(self, path: str, form: dict[str, str]) -> requests.Response:
        """Post a form."""
        with self.session() as session:
            return session.post(f"{self.url}{path}", data=form, timeout=10)

    def upstreams(self) -> list[str]:
        """Return, for each request so far, the port that it was sent to; several for one that was repeated."""
        lines = self.log.read_text().splitlines()
        return [line.rsplit(" ", 2)[1] if ", " not in line else line for line in lines if '" ' in line]


@contextmanager
def nginx(folder: Path, ports: tuple[int, int], *, port: int | None = None) -> Iterator[Nginx]:
    """Run nginx before two servers on these ports of loopback."""
    folder.mkdir(exist_ok=True)
    chosen = port or free_port()
    certificate, key = _certificate(folder)
    configuration = _substituted(
        (FILES / "nginx.conf").read_text(),
        {
            "server auth-1:8080": f"server {LOOPBACK}:{ports[0]}",
            "server auth-2:8080": f"server {LOOPBACK}:{ports[1]}",
            "listen 8443 ssl": f"listen {LOOPBACK}:{chosen} ssl",
            "/run/secrets/tls_certificate": str(certificate),
            "/run/secrets/tls_key": str(key),
            "/tmp/nginx": f"{folder}/nginx",
        },
    )
    (folder / "nginx.conf").write_text(configuration)
    log, errors = folder / "access.log", folder / "error.log"
    program = shutil.which("nginx")
    assert program is not None
    with log.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        _await(chosen, process, errors)
        yield Nginx(f"https://{LOOPBACK}:{chosen}", certificate, log)
    finally:
        process.terminate()
        process.wait(20)


def _substituted(text: str, replacements: dict[str, str]) -> str:
    """Replace each text that must be there."""
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _await(port: int, process: "subprocess.Popen[bytes]", errors: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, errors.read_text()
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(errors.read_text())


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback; return it and its key as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ip_address(LOOPBACK))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "tls-certificate", folder / "tls-key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
