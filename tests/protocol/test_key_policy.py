"""Which numbers make a good key; the sets of tests/vectors/key_sets.json try them as keys."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.protocol.key_policy import FERMAT_ROUNDS, KeyRules, has_close_factors, has_small_order, rsa_weakness
from tests.keys import key
from tests.protocol.weak_keys import modulus

ONLY_65537 = KeyRules()


@pytest.mark.parametrize(
    ("kind", "weakness"),
    [
        ("rsa_size_2047", "rsa_size"),
        ("rsa_size_4097", "rsa_size"),
        ("rsa_roca", "rsa_roca"),
        ("rsa_close_primes", "rsa_close_primes"),
        ("rsa_square", "rsa_close_primes"),
        ("rsa_even", "rsa_small_factor"),
        ("rsa_factor_997", "rsa_small_factor"),
        ("rsa_size_2048", None),
        ("rsa_size_4096", None),
    ],
)
def test_a_modulus_is_judged_by_size_factors_and_fingerprint(kind: str, weakness: str | None) -> None:
    """Threat A07."""
    assert rsa_weakness(modulus(kind), 65_537, ONLY_65537) == weakness


def test_each_small_factor_is_found() -> None:
    """Threat A07."""
    primes = [n for n in range(2, 1_000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    good = modulus("rsa_size_2048")

    judged = {rsa_weakness(good * prime, 65_537, ONLY_65537) for prime in primes}

    assert (judged, rsa_weakness(good, 65_537, ONLY_65537)) == ({"rsa_small_factor"}, None)


@given(middle=st.integers(min_value=10**6, max_value=2**600), apart=st.integers(min_value=0, max_value=2**310))
def test_close_factors_are_found_as_by_taking_every_root(middle: int, apart: int) -> None:
    """Threat A07: ruling numbers out by their residues changes no judgement."""
    n = (2 * middle + 1) * (2 * (middle + apart) + 1)

    assert has_close_factors(n) == _fermat(n)


def _fermat(n: int) -> bool:
    start = math.isqrt(n - 1) + 1
    remainders = (a * a - n for a in range(start, start + FERMAT_ROUNDS))
    return any(math.isqrt(remainder) ** 2 == remainder for remainder in remainders)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384"])
def test_a_usual_key_has_no_weakness(algorithm: str) -> None:
    numbers = key(algorithm).private.public_key().public_numbers()

    assert rsa_weakness(numbers.n, numbers.e, ONLY_65537) is None


@pytest.mark.parametrize(
    ("exponent", "by_default", "any_odd"),
    [
        (65_537, None, None),
        (3, "rsa_exponent", None),
        (2**32 - 1, "rsa_exponent", None),
        (1, "rsa_exponent", "rsa_exponent"),
        (4, "rsa_exponent", "rsa_exponent"),
        (2**32 + 1, "rsa_exponent", "rsa_exponent"),
    ],
)
def test_an_exponent_is_judged_by_the_setting(exponent: int, by_default: str | None, any_odd: str | None) -> None:
    """Threats A07 and A09."""
    n = modulus("rsa_size_2048")

    judged = [rsa_weakness(n, exponent, rules) for rules in (ONLY_65537, KeyRules(any_odd_exponent=True))]

    assert judged == [by_default, any_odd]


def test_points_of_small_order_are_known_in_every_encoding() -> None:
    prime = 2**255 - 19
    small = [0, 1, prime - 1, prime, prime + 1]
    encoded = [(y + sign * 2**255).to_bytes(32, "little") for y in small for sign in (0, 1)]

    assert [has_small_order(octets) for octets in encoded] == [True] * 10
    assert has_small_order(key("EdDSA").private.public_key().public_bytes_raw()) is False
