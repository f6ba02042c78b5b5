"""Which public keys are good enough to prove a client. Knows numbers and curves; knows no JWK, no network.

The checks follow what public certificate authorities do before they certify a key: size, exponent, small
factors, the ROCA fingerprint (CVE-2017-15361), close primes, and for Ed25519 points of small order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 4096
USUAL_EXPONENT = 65_537
FERMAT_ROUNDS = 110
_SMALL_PRIME_LIMIT = 1_000
_ED25519_PRIME = 2**255 - 19
_ORDER_8_Y = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER_Y = frozenset({0, 1, _ED25519_PRIME - 1, _ORDER_8_Y, _ED25519_PRIME - _ORDER_8_Y})


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The settable part: `any_odd_exponent` admits odd e in 3..2^32 beside 65537.

    `publicly_known` admits keys whose private half is published (see known_keys): for development alone.
    """

    any_odd_exponent: bool = False
    publicly_known: bool = False


def _primes_below(limit: int) -> Iterable[int]:
    return (n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1)))


def _roots_modulo(modulus: int) -> tuple[int, ...]:
    """Return for each residue of n, as bits, those x from 0 on for which x * x - n can be a square.

    They repeat with the modulus, and go on so far that any FERMAT_ROUNDS of them in a row can be taken.
    """
    squares = {root * root % modulus for root in range(modulus)}
    repeated = sum(1 << modulus * times for times in range(FERMAT_ROUNDS // modulus + 2))
    return tuple(
        sum(1 << x for x in range(modulus) if (x * x - n) % modulus in squares) * repeated for n in range(modulus)
    )


# Of a thousand numbers hardly one can be a square modulo all of these, so a root is seldom taken.
_ROOTS = tuple((modulus, _roots_modulo(modulus)) for modulus in (64, 63, 65, 11, 17, 19, 23))
_ROUNDS = (1 << FERMAT_ROUNDS) - 1

_SMALL_PRIMES = tuple(_primes_below(_SMALL_PRIME_LIMIT))
_SMALL_PRODUCT = math.prod(_SMALL_PRIMES)


def _powers_of_65537(prime: int) -> frozenset[int]:
    found, power = set(), 1
    while power not in found:
        found.add(power)
        power = power * USUAL_EXPONENT % prime
    return frozenset(found)


# A ROCA modulus is, modulo each of these primes, a power of 65537; a random one is so with odds of 2^-27 or less.
_ROCA_RESIDUES = tuple((prime, _powers_of_65537(prime)) for prime in _SMALL_PRIMES[1:39])


def rsa_weakness(n: int, e: int, rules: KeyRules) -> str | None:
    """Return the reason code why the RSA key must not be used, or None when it is good.

    `n` is the modulus, `e` the public exponent (RFC 7518 section 3.3 sets the lower bound of 2,048 bits).
    """
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        return "rsa_size"
    if not _exponent_is_good(e, rules):
        return "rsa_exponent"
    if math.gcd(n, _SMALL_PRODUCT) != 1:
        return "rsa_small_factor"
    if all(n % prime in residues for prime, residues in _ROCA_RESIDUES):
        return "rsa_roca"
    if has_close_factors(n):
        return "rsa_close_primes"
    return None


def has_small_order(octets: bytes) -> bool:
    """Say whether an Ed25519 public key is one of the points of order 1, 2, 4 or 8, in any encoding.

    Under such a key one signature verifies many messages, and nobody has to know a private key (RFC 8032 section 5.1).
    """
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    return y % _ED25519_PRIME in _SMALL_ORDER_Y


def _exponent_is_good(e: int, rules: KeyRules) -> bool:
    if e == USUAL_EXPONENT:
        return True
    return rules.any_odd_exponent and e % 2 == 1 and 3 <= e <= 2**32


def has_close_factors(n: int) -> bool:
    """Try Fermat's factorisation for a few rounds: it succeeds at once when p and q are close."""
    a = math.isqrt(n)
    if a * a < n:
        a += 1
    # The rounds try a, a + 1, ...; each modulus rules most of them out at once.
    left = _ROUNDS
    for modulus, roots in _ROOTS:
        left &= roots[n % modulus] >> a % modulus
    return any(left >> k & 1 and _is_square((a + k) ** 2 - n) for k in range(left.bit_length()))


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number
