"""Form bodies to send, one a line: token requests with an assertion of their own each, and introspections of tokens."""

import http.client
import json
import secrets
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SCOPE = "system/Patient.rs system/Observation.rs"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LIFETIME = 280
"""Seconds that an assertion is good for; whoever makes many must send them in that time."""


@dataclass(frozen=True)
class BenchKey:
    """The key pair of clients of the bench. `pem` is the private half, made for one run and kept nowhere."""

    algorithm: str
    pem: bytes

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as a client publishes it."""
        private = serialization.load_pem_private_key(self.pem, password=None)
        exporter = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
        members = exporter.to_jwk(private.public_key(), as_dict=True)  # type: ignore[arg-type]  # of the same kind
        members.pop("key_ops", None)
        return {**members, "kid": "bench", "use": "sig", "alg": self.algorithm}


def new_key(algorithm: str) -> BenchKey:
    """Make a key pair for RS384 (2048 bits) or ES384."""
    private = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if algorithm == "RS384"
        else ec.generate_private_key(ec.SECP384R1())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return BenchKey(algorithm, pem)


def token_requests(path: Path, key: BenchKey, clients: list[str], *, audience: str, processes: int = 2) -> Path:
    """Write one token request for each entry of `clients`, signed in several processes; return the path."""
    shares = [clients[start::processes] for start in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        signed = list(pool.map(_signed, [key] * processes, shares, [audience] * processes))
    lines = [line for share in signed for line in share]
    path.write_text("\n".join(lines) + "\n")
    return path


def _signed(key: BenchKey, clients: list[str], audience: str) -> list[str]:
    private = serialization.load_pem_private_key(key.pem, password=None)
    expires = int(time.time()) + LIFETIME
    lines = []
    for client_id in clients:
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "exp": expires, "jti": secrets.token_hex(16)}
        claims["iat"] = expires - LIFETIME
        assertion = jwt.encode(claims, private, algorithm=key.algorithm, headers={"kid": "bench"})  # type: ignore[arg-type]
        form = {"grant_type": "client_credentials", "scope": SCOPE, "client_assertion_type": JWT_BEARER}
        lines.append(urlencode({**form, "client_assertion": assertion}))
    return lines


def introspections(path: Path, requests: Path, *, token_url: str) -> Path:
    """Get a token for each token request and write an introspection of it; return the path."""
    parts = urlsplit(token_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    lines = []
    for body in requests.read_text().splitlines():
        connection.request("POST", parts.path, body, FORM)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{token_url} answered {answer.status}: {document}")
        lines.append(urlencode({"token": document["access_token"]}))
    connection.close()
    path.write_text("\n".join(lines) + "\n")
    return path
