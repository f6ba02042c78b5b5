"""ES384 signatures by AWS-LC where the extra `fast` is installed: the other library takes more than twice as long.

What makes a JWS strict stays in `protocol.jose`; only the arithmetic is another. It is used after it has answered a few
questions as `cryptography` does, and whenever it fails to answer `cryptography` is asked.
"""

import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Lock
from typing import Any

import structlog
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from authserver.errors import InvalidJws
from authserver.protocol import jose
from authserver.protocol.jose import AnyPublicKey, SignatureCheck, UnverifiedJws

MAX_KEYS = 10_000
"""Keys whose AWS-LC form is kept; the least recently used goes first."""

_SIZE = 48
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
"""The order of P-384 (SEC 2, section 2.5.1)."""


def signature_check(*, install: Callable[[], Any] | None = None) -> SignatureCheck:
    """Return the fastest check of signatures that can be trusted here; `install` returns the class of AWS-LC's keys.

    Without the extra, or when its answers differ from those of `cryptography`, that is jose.check_signature.
    """
    try:
        check = FastSignatures((install or _aws_lc)())
    except ImportError:
        return jose.check_signature
    wrong = [name for name, jws, key in _questions() if _verifies(check, jws, key) != (name == "right")]
    if wrong:
        structlog.get_logger().error("fast_signatures_refused", questions=wrong)
        return jose.check_signature
    return check


class LateSignatureCheck:
    """The fastest check that can be trusted here, found at the first ES384 signature. Safe for use by several threads.

    Loading the library and asking it take some 40 ms, which a start without such clients need not spend.
    """

    def __init__(self, *, find: Callable[[], SignatureCheck] = signature_check) -> None:
        self._find, self._lock = find, Lock()
        self._found: SignatureCheck | None = None

    def __call__(self, jws: UnverifiedJws, key: AnyPublicKey) -> None:
        """Check the signature; raises InvalidJws (`signature_invalid`)."""
        check = self._check() if jws.algorithm == "ES384" else jose.check_signature
        check(jws, key)

    def _check(self) -> SignatureCheck:
        with self._lock:
            if self._found is None:
                self._found = self._find()
            return self._found


class FastSignatures:
    """jose.check_signature() with another arithmetic for ES384. Safe for use by several threads."""

    def __init__(self, key_class: Any) -> None:
        self._key_class = key_class
        self._keys: OrderedDict[int, tuple[AnyPublicKey, Any]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, jws: UnverifiedJws, key: AnyPublicKey) -> None:
        """Check the signature; raises InvalidJws (`signature_invalid`)."""
        if jws.algorithm != "ES384" or not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 8 * _SIZE:
            jose.check_signature(jws, key)
            return
        verified = self._verified(jws, key)
        if verified is None:
            jose.check_signature(jws, key)
        elif not verified:
            raise InvalidJws(detail="signature does not verify", reason="signature_invalid")

    def _verified(self, jws: UnverifiedJws, key: ec.EllipticCurvePublicKey) -> bool | None:
        """Return whether the signature is right, None when AWS-LC does not say."""
        if len(jws.signature) != 2 * _SIZE:
            return False
        r, s = int.from_bytes(jws.signature[:_SIZE]), int.from_bytes(jws.signature[_SIZE:])
        try:
            return (
                self._held(key).verify(hashlib.sha384(jws.signing_input).digest(), encode_dss_signature(r, s)) is True
            )
        except Exception:  # noqa: BLE001 -- whatever it raises, the other library decides
            return None

    def _held(self, key: ec.EllipticCurvePublicKey) -> Any:
        # By identity: the key itself is kept beside it, so its number cannot become another key's.
        with self._lock:
            held = self._keys.get(id(key))
            if held is None:
                held = self._keys[id(key)] = key, self._key_class.new_key_from_der_data(_der(key))
                while len(self._keys) > MAX_KEYS:
                    self._keys.popitem(last=False)
            self._keys.move_to_end(id(key))
            return held[1]


def _aws_lc() -> Any:
    return importlib.import_module("awscrt.crypto").EC


def _der(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _verifies(check: SignatureCheck, jws: UnverifiedJws, key: AnyPublicKey) -> bool:
    try:
        check(jws, key)
    except InvalidJws:
        return False
    return True


def _questions() -> Iterator[tuple[str, UnverifiedJws, AnyPublicKey]]:
    """Yield tokens and keys by what is wrong with them; the one that is `right` must verify, the others must not."""
    private, other = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    data = b"header.claims"
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA384())))
    right = UnverifiedJws({"alg": "ES384"}, b"claims", data, _raw(r, s))
    yield "right", right, private.public_key()
    yield "another key", right, other.public_key()
    yield "another text", replace(right, signing_input=data + b"."), private.public_key()
    for name, pair in {
        "r is zero": (0, s),
        "s is zero": (r, 0),
        "r is the order": (_ORDER, s),
        "s is the order": (r, _ORDER),
        "r and s exchanged": (s, r),
        "a bit of s": (r, s ^ 1),
    }.items():
        yield name, replace(right, signature=_raw(*pair)), private.public_key()
    yield "DER", replace(right, signature=encode_dss_signature(r, s)), private.public_key()


def _raw(r: int, s: int) -> bytes:
    return r.to_bytes(_SIZE) + s.to_bytes(_SIZE)
