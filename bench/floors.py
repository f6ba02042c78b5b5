"""The floors: what the work of one request takes at least, piece by piece, in microseconds of one core."""

import hashlib
import json
import os
import secrets
import sqlite3
import tempfile
import timeit
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authserver.adapters.fast_signatures import signature_check
from authserver.protocol import jose
from bench.bodies import new_key, token_requests

HTTP = "HTTP: the form read and an answer sent, 16 connections"

TOKEN = (
    HTTP,
    "RS384 verification",
    "form",
    "JOSE",
    "signature of the token",
    "jti, sixteen in a transaction (FULL)",
    "answer",
)
"""The pieces that a token request with an RS384 client cannot do without."""


def measured() -> dict[str, float]:
    """Return the time of each piece in microseconds, the best of several runs."""
    with tempfile.TemporaryDirectory() as folder:
        rs384 = token_requests(
            Path(folder) / "r", new_key("RS384"), ["bench"], audience="http://127.0.0.1", processes=1
        )
        body = rs384.read_text().strip()
        return {
            "RS384 verification": _time(_rsa(), 500),
            "ES384 verification by cryptography": _time(_es384(jose.check_signature), 200),
            "ES384 verification as installed": _time(_es384(signature_check()), 200),
            "form": _time(lambda: parse_qsl(body), 2000),
            "JOSE": _time(_json(body), 2000),
            "signature of the token": _time(_sign(), 500),
            "jti, sixteen in a transaction (FULL)": _time(_claims(Path(folder) / "jti.db"), 100) / 16,
            "answer": _time(_answer, 2000),
            "fsync of a page": _time(_fsync(Path(folder) / "page"), 100),
        }


def _time(work: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6


def _rsa() -> Callable[[], object]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public, data, scheme = private.public_key(), secrets.token_bytes(600), padding.PKCS1v15()
    signature = private.sign(data, scheme, hashes.SHA384())
    return lambda: public.verify(signature, data, scheme, hashes.SHA384())


def _es384(check: jose.SignatureCheck) -> Callable[[], object]:
    private = ec.generate_private_key(ec.SECP384R1())
    data = secrets.token_bytes(600)
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA384())))
    jws = jose.UnverifiedJws({"alg": "ES384"}, b"", data, r.to_bytes(48) + s.to_bytes(48))
    public = private.public_key()
    return lambda: check(jws, public)


def _json(body: str) -> Callable[[], object]:
    parts = dict(parse_qsl(body))["client_assertion"].split(".")

    def work() -> None:
        decoded = [urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts]
        for segment in decoded[:2]:
            json.loads(segment)

    return work


def _sign() -> Callable[[], object]:
    private, data = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(300)

    def work() -> None:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32))

    return work


def _answer() -> None:
    json.dumps({"access_token": "x" * 500, "token_type": "Bearer", "expires_in": 300, "scope": "system/Patient.rs"})


def _claims(path: Path) -> Callable[[], object]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE used (key BLOB PRIMARY KEY, until INTEGER) WITHOUT ROWID")

    def work() -> None:
        database.execute("BEGIN IMMEDIATE")
        for _ in range(16):
            key = hashlib.sha256(secrets.token_bytes(16)).digest()[:16]
            database.execute("INSERT INTO used VALUES (?, 1) ON CONFLICT DO NOTHING", (key,))
        database.execute("COMMIT")

    return work


def _fsync(path: Path) -> Callable[[], object]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)

    def work() -> None:
        os.pwrite(descriptor, bytes(4096), 0)
        os.fdatasync(descriptor)

    return work
