"""RSA moduli that no client may use, made by arithmetic: no private key belongs to any of them."""

import math
from collections.abc import Callable
from functools import cache

from authserver.protocol import jose
from authserver.protocol.key_policy import MIN_RSA_BITS


@cache
def modulus(kind: str) -> int:
    """Return a modulus with exactly the named weakness."""
    if kind.startswith("rsa_size_"):
        return _without_small_factors(2 ** int(kind.removeprefix("rsa_size_")) - 2**40)
    makers: dict[str, Callable[[], int]] = {
        "rsa_roca": _roca,
        "rsa_close_primes": _close_primes,
        "rsa_square": lambda: _without_small_factors(2**1024 - 2**512) ** 2,
        "rsa_even": lambda: 2**MIN_RSA_BITS - 2,
        "rsa_factor_997": lambda: 997 * _without_small_factors(2**2047 // 997 * 2 - 2**40),
    }
    return makers[kind]()


def encoded_modulus(kind: str) -> str:
    """Return the modulus as the `n` of a JWK."""
    number = modulus(kind)
    return jose.encode_segment(number.to_bytes((number.bit_length() + 7) // 8))


def _primes(limit: int) -> list[int]:
    return [n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1))]


def _without_small_factors(start: int) -> int:
    """Return the next number below `start` that no prime under 1,000 divides."""
    product = math.prod(_primes(1_000))
    number = start - 1
    while math.gcd(number, product) != 1:
        number -= 1
    return number


def _close_primes() -> int:
    p = _without_small_factors(2**1024 - 2**512)
    return p * _without_small_factors(p - 2**20)


def _roca() -> int:
    """Return (k M + 65537^a mod M)(l M + 65537^b mod M), the form that the flawed generator made (CVE-2017-15361)."""
    primorial = math.prod(_primes(702))
    product = math.prod(_primes(1_000))

    def factor(a: int) -> int:
        k = (2**1024 - 2**900) // primorial
        while math.gcd(number := k * primorial + pow(65_537, a, primorial), product) != 1:
            k -= 1
        return number

    return factor(11) * factor(1_009)
