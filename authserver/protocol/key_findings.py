"""What may be told of a client's keys: which are usable, by which algorithms, and why the others are not. PURE."""

from collections import Counter
from typing import Any

from authserver.protocol import jose
from authserver.protocol.jwks import JwkSet, PublicKey, RefusedKey


def findings(keys: JwkSet, algorithms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return each key of the set: kid, kty, alg, use, thumbprint, usable; or code and finding.

    `algorithms` are those that the client may sign by. A key whose kid is not the only one of its kty verifies nothing
    (SMART: "if the number of keys is not one, the verification fails").
    """
    kids = [*((key.kid, key.kty) for key in keys.keys), *((key.kid, key.kty) for key in keys.refused)]
    named = Counter(kid for kid in kids if kid[0] is not None)
    usable = [_usable(key, algorithms, alone=named[key.kid, key.kty] < 2) for key in keys.keys]
    return [*usable, *map(_refused, keys.refused)]


def fitting(key: PublicKey, algorithms: tuple[str, ...]) -> list[str]:
    """Return which of the algorithms the key can verify (RFC 8725 section 3.1: a bound one fits its own alone)."""
    return [
        name
        for name in algorithms
        if (jose.ALGORITHMS[name].kty, jose.ALGORITHMS[name].curve) == (key.kty, key.curve)
        if key.algorithm in (None, name)
    ]


def _usable(key: PublicKey, algorithms: tuple[str, ...], *, alone: bool) -> dict[str, Any]:
    shown = {"kid": key.kid, "kty": key.kty, "alg": key.algorithm, "use": "sig", "thumbprint": key.thumbprint}
    if not alone:
        return shown | _not("key_ambiguous", "another key of this kty has the same kid")
    fits = fitting(key, algorithms)
    if not fits:
        return shown | _not("key_algorithm", f"fits none of the client's algorithms: {', '.join(algorithms)}")
    return shown | {"usable": True, "algorithms": fits}


def _refused(key: RefusedKey) -> dict[str, Any]:
    return {"kid": key.kid, "kty": key.kty} | _not(key.reason, key.message)


def _not(code: str, finding: str) -> dict[str, Any]:
    return {"usable": False, "code": code, "finding": finding}
