"""Measure whether the time of a refusal tells which clients exist (threat E07).

Pairs of token requests, one naming a client that is registered and known to the server already, one naming a client
that is not there, alike otherwise: well-shaped, and signed by a key that is not the client's. They alternate in random
order against one application over SQLite, without a network. Prints the median of each side and the difference; exit
code 1 when any pair of medians is more than 5 % or 0.2 ms apart.

    python -m bench.enumeration [PAIRS]
"""

import base64
import json
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from flask.testing import FlaskClient

from authserver import clock
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.app import build_services, open_parts
from authserver.settings import Settings
from tests.http import make_app

PAIRS, WARM_UP = 2_000, 200
MAX_RELATIVE, MAX_SECONDS = 0.05, 0.0002
FORM = "application/x-www-form-urlencoded"
ISSUER = "https://auth.example"


def segment(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int) -> str:
    """Return a number as the octets of a JWK."""
    return segment(value.to_bytes(size))


class Es384:
    """An ES384 key pair of a client."""

    name = "ES384"

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP384R1())

    def jwk(self) -> dict[str, str]:
        """Return the public half."""
        point = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-384", "x": number(point.x, 48), "y": number(point.y, 48), "kid": "key-1"}

    def sign(self, data: bytes) -> bytes:
        """Return R and S."""
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48) + s.to_bytes(48)


class Rs384:
    """An RS384 key pair of a client."""

    name = "RS384"

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65_537, 2048)

    def jwk(self) -> dict[str, str]:
        """Return the public half."""
        numbers = self.private.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n, 256), "e": number(numbers.e, 3), "kid": "key-1"}

    def sign(self, data: bytes) -> bytes:
        """Return the PKCS #1 signature."""
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA384())


def assertion(client_id: str, signer: Es384 | Rs384, *, kid: str) -> str:
    """Return an assertion that is well-shaped; whether it is good is the signer's matter."""
    now = clock.now()
    claims = {"iss": client_id, "sub": client_id, "aud": f"{ISSUER}/auth/token", "exp": now + 250, "iat": now}
    header = {"alg": signer.name, "kid": kid, "typ": "JWT"}
    parts = [json.dumps(part).encode() for part in (header, claims | {"jti": secrets.token_hex(12)})]
    signing_input = ".".join(segment(part) for part in parts)
    return f"{signing_input}.{segment(signer.sign(signing_input.encode()))}"


def timed(client: FlaskClient, body: str) -> float:
    """Return the seconds of one refused token request."""
    started = time.perf_counter()
    answer = client.post("/auth/token", data=body, content_type=FORM)
    seconds = time.perf_counter() - started
    assert answer.status_code == 400, answer.text
    return seconds


def paired(ask: Callable[[str, str], float], sides: tuple[str, str], kid: str, pairs: int) -> list[float]:
    """Return the median of each side over alternating requests in random order."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    for index in range(WARM_UP + pairs):
        for side in random.sample(sides, 2):
            seconds = ask(side, kid)
            if index >= WARM_UP:
                found[side].append(seconds)
    return [statistics.median(found[side]) for side in sides]


def body(client_id: str, signer: Es384 | Rs384, kid: str) -> str:
    """Return the form of a token request."""
    return urlencode(
        {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion(client_id, signer, kid=kid),
        }
    )


def application(folder: Path, registered: Mapping[str, Mapping[str, Any]]) -> FlaskClient:
    """Return an application over SQLite with these clients."""
    settings = Settings(_env_file=None, issuer=ISSUER, instance_dir=folder, keys_dir=folder / "keys")  # type: ignore[call-arg]
    (folder / "keys").mkdir(mode=0o700)
    engine = open_engine(settings.database_url)
    upgrade(engine)
    engine.dispose()
    parts = open_parts(settings)
    services = build_services(settings, parts)
    for client_id, changes in registered.items():
        resource = {"grant_types": ["client_credentials"], "scope": ["system/*.rs"], **changes}
        services.registration.put("Client", client_id, resource, actor="bench", now=clock.now_microseconds())
    return make_app(settings, parts).test_client()


def main() -> int:
    """Measure every pair; return the exit code."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    worst = 0
    with tempfile.TemporaryDirectory() as name:
        keys, forgers = (Es384(), Rs384()), (Es384(), Rs384())
        inline: dict[str, dict[str, Any]] = {key.name: {"jwks": {"keys": [key.jwk()]}} for key in keys}
        known = {f"known-{algorithm}": changes for algorithm, changes in inline.items()}
        inactive = {f"halted-{algorithm}": {**changes, "active": False} for algorithm, changes in inline.items()}
        client = application(Path(name), {**known, **inactive})
        for forger in forgers:
            for other in ("absent", "halted"):
                for kid in ("key-1", "key-9"):
                    sides = (f"known-{forger.name}", f"{other}-{forger.name}")
                    ask = lambda side, kid, forger=forger: timed(client, body(side, forger, kid))  # noqa: E731
                    medians = paired(ask, sides, kid, pairs)
                    difference = abs(medians[0] - medians[1])
                    share = difference / max(medians)
                    worst |= share > MAX_RELATIVE or difference > MAX_SECONDS
                    milliseconds = " ".join(f"{1_000 * median:.3f}" for median in medians)
                    print(f"{sides[0]} / {sides[1]} kid {kid}: {milliseconds} ms, {100 * share:.1f} %")  # noqa: T201
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
