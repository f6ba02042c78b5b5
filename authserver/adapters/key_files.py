"""The server's own keys: one private key per file, `<kid>.pem`; signs with one of them, publishes all.

A key that somebody else could have read or planted is worse than none, so loading refuses it.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authserver.errors import InvalidJws
from authserver.protocol import jose, jwks

SigningAlgorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[SigningAlgorithm, ...] = ("ES256", "RS256")
RSA_BITS = 2048
"""Length of a new RSA key, and the least that is taken (RFC 7518 section 3.3)."""

_MAX_FILE_BYTES = 65_536
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class KeyFilesError(Exception):
    """The key files cannot be used; the message names the file and says what to do. It never quotes a key."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What an operator may see of a key; `created_at` is the file's modification time, epoch seconds."""

    kid: str
    algorithm: SigningAlgorithm
    created_at: int
    active: bool


@dataclass(frozen=True, slots=True)
class _Key:
    """A loaded key; `modified_at` in nanoseconds since the epoch."""

    kid: str
    algorithm: SigningAlgorithm
    modified_at: int
    jwk: Mapping[str, str]
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    sign: Callable[[bytes], bytes]


class KeyFiles:
    """Signer (see the port) over the keys of a directory, read once: a new key is seen at the next start."""

    def __init__(
        self, directory: Path, *, algorithm: SigningAlgorithm = "ES256", active_kid: str | None = None
    ) -> None:
        """Load every key. `active_kid` signs, or else the newest key of the algorithm.

        Raises KeyFilesError for a directory or file that is not its owner's alone, a file that is no key, is
        named for another kid or has an unsupported key, and when the key that should sign is not there.
        """
        with _system_errors(directory):
            _require_private(directory, os.stat(directory))
            self._keys = {key.kid: key for key in map(_load, sorted(directory.glob("*.pem")))}
        self._active = _choose(self._keys, directory, algorithm=algorithm, active_kid=active_kid)
        self._headers: dict[str, str] = {}

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return a compact JWS (RFC 7515 section 7.1) by the active key."""
        header = self._headers.get(typ) or self._header(typ)
        signing_input = f"{header}.{jose.encode_segment(orjson.dumps(claims))}"
        return f"{signing_input}.{jose.encode_segment(self._active.sign(signing_input.encode('ascii')))}"

    def verify(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Return the claims if one of the published keys signed the token with this `typ`, else None; never raises.

        The header must be exactly what sign() writes, in any order: what it does not write it does not understand.
        """
        try:
            jws = jose.parse(token, algorithms=ALGORITHMS)
            key = self._keys.get(str(jws.header.get("kid")))
            if key is None or jws.header != {"alg": key.algorithm, "kid": key.kid, "typ": typ}:
                return None
            jose.check_signature(jws, key.public)
            return jws.claims()
        except InvalidJws:
            return None

    def public_jwks(self) -> Mapping[str, Any]:
        """Return every public key with kid, use and alg, oldest first (RFC 7517 section 5)."""
        return {"keys": [dict(key.jwk) for key in self._by_age()]}

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return what may be shown of every key, oldest first."""
        return tuple(
            KeyInfo(key.kid, key.algorithm, key.modified_at // 10**9, key is self._active) for key in self._by_age()
        )

    def _by_age(self) -> list[_Key]:
        return sorted(self._keys.values(), key=_age)

    def _header(self, typ: str) -> str:
        header = {"alg": self._active.algorithm, "kid": self._active.kid, "typ": typ}
        self._headers[typ] = jose.encode_segment(orjson.dumps(header))
        return self._headers[typ]


def open_signer(directory: Path, *, algorithm: SigningAlgorithm = "ES256", active_kid: str | None = None) -> KeyFiles:
    """Return the Signer of a directory; makes it, and its first key of the algorithm, when there is none.

    Processes that start at once agree on one key. A missing `active_kid` is an error, never a new key.
    Raises KeyFilesError.
    """
    if algorithm not in ALGORITHMS:
        raise KeyFilesError(f"{algorithm!r} is no signing algorithm of this server: use ES256 or RS256.")
    with _system_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(directory, os.stat(directory))
        with _locked(directory) as folder:
            keys = [_load(path) for path in sorted(directory.glob("*.pem"))]
            if active_kid is None and not any(key.algorithm == algorithm for key in keys):
                _create(directory, folder, algorithm=algorithm)
    return KeyFiles(directory, algorithm=algorithm, active_kid=active_kid)


def add_key(directory: Path, *, algorithm: SigningAlgorithm = "ES256") -> str:
    """Make another key and return its kid; from the next start it is published, and signs unless `active_kid` is set.

    To rotate without a verifier that meets an unknown kid: pin `active_kid` to the old key, add the new one,
    restart, wait until every cached copy of the key set is older than its max-age, then pin the new one.
    Raises KeyFilesError.
    """
    with _system_errors(directory):
        _require_private(directory, os.stat(directory))
        with _locked(directory) as folder:
            return _create(directory, folder, algorithm=algorithm)


@contextmanager
def _system_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyFilesError(
            f"{error.filename or directory}: {error.strerror}. Give this server's user access."
        ) from error


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Yield a descriptor of the directory, locked against every other process that makes keys in it."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _require_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise KeyFilesError(f"{path} belongs to another user: run `chown -R {os.geteuid()} {path}` or move it away.")
    if status.st_mode & 0o077:
        mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise KeyFilesError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):o}): if nobody can have read or written it, "
            f"run `chmod {mode} {path}`; otherwise delete the keys and let new ones be made."
        )


def _load(path: Path) -> _Key:
    with path.open("rb") as file:  # status and bytes of the same file, whatever the name points to meanwhile
        status = os.fstat(file.fileno())
        _require_private(path, status)
        pem = file.read(_MAX_FILE_BYTES)
    key = _key(_parse(path, pem), path=path, modified_at=status.st_mtime_ns)
    if path.name != f"{key.kid}.pem":
        raise KeyFilesError(f"{path} holds the key {key.kid}: rename it to {key.kid}.pem, or move it away.")
    return key


def _parse(path: Path, pem: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "is empty" if not pem else "is no unencrypted PKCS #8 private key"
        raise KeyFilesError(f"{path} {what}: restore it from a copy, or move it away.") from error


def _key(private: object, *, path: Path, modified_at: int) -> _Key:
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return _es256(private, modified_at)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= RSA_BITS:
        return _rs256(private, modified_at)
    raise KeyFilesError(f"{path}: keys are EC P-256 or RSA of at least {RSA_BITS} bits; move this one away.")


def _es256(private: ec.EllipticCurvePrivateKey, modified_at: int) -> _Key:
    scheme = ec.ECDSA(hashes.SHA256())

    def sign(data: bytes) -> bytes:
        # RFC 7518 section 3.4: R and S at their full length, not the DER that the library returns.
        r, s = decode_dss_signature(private.sign(data, scheme))
        return r.to_bytes(32) + s.to_bytes(32)

    public = private.public_key()
    point = public.public_numbers()
    members = {"kty": "EC", "crv": "P-256", "x": _number(point.x, size=32), "y": _number(point.y, size=32)}
    kid = jwks.thumbprint(members)
    jwk = {"kid": kid, "use": "sig", "alg": "ES256"} | members
    return _Key(kid, "ES256", modified_at, jwk, public, sign)


def _rs256(private: rsa.RSAPrivateKey, modified_at: int) -> _Key:
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    public = private.public_key()
    numbers = public.public_numbers()
    members = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    kid = jwks.thumbprint(members)
    jwk = {"kid": kid, "use": "sig", "alg": "RS256"} | members
    return _Key(kid, "RS256", modified_at, jwk, public, lambda data: private.sign(data, scheme, digest))


def _number(value: int, *, size: int | None = None) -> str:
    """Encode an integer as RFC 7518 does: `size` bytes, or as few as it needs (section 2, Base64urlUInt)."""
    return jose.encode_segment(value.to_bytes(size or (value.bit_length() + 7) // 8))


def _choose(keys: Mapping[str, _Key], directory: Path, *, algorithm: SigningAlgorithm, active_kid: str | None) -> _Key:
    fitting = [key for key in keys.values() if key.algorithm == algorithm and active_kid in (None, key.kid)]
    if not fitting:
        wanted = f"{algorithm} key" + (f" {active_kid}" if active_kid else "")
        raise KeyFilesError(f"{directory} has no {wanted}: add it, or name another key or algorithm.")
    return max(fitting, key=_age)


def _age(key: _Key) -> tuple[int, str]:
    return key.modified_at, key.kid


def _create(directory: Path, folder: int, *, algorithm: SigningAlgorithm) -> str:
    """Write a new key so that after any crash there is either the whole file or none."""
    private: _PrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kid = _key(private, path=directory, modified_at=0).kid
    unfinished = directory / f".new-{secrets.token_hex(8)}"
    with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(directory / f"{kid}.pem")
    os.fsync(folder)
    return kid
