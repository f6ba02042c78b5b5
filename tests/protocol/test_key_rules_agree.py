"""A key is judged alike where it is registered and where it is used (threats A07 and A09)."""

import pytest

from authserver.errors import InvalidClient, InvalidResource
from authserver.protocol import client as client_protocol
from authserver.protocol import jose, jwks
from authserver.protocol.client import ClientRules
from authserver.protocol.jwks import parse_document
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.render import encode
from tests.builders import client_resource
from tests.protocol.weak_keys import encoded_modulus

KINDS = [
    "rsa_size_2047",
    "rsa_size_2048",
    "rsa_size_4096",
    "rsa_size_4097",
    "rsa_size_16384",
    "rsa_roca",
    "rsa_close_primes",
    "rsa_even",
    "rsa_factor_997",
]
EXPONENTS = [1, 2, 3, 65_537, 2**32 - 1, 2**32 + 1, 2**2047 + 1]
GOOD = {"rsa_size_2048", "rsa_size_4096"}


def rsa(kind: str, exponent: int) -> dict[str, str]:
    e = jose.encode_segment(exponent.to_bytes((exponent.bit_length() + 7) // 8))
    return {"kty": "RSA", "kid": "k", "n": encoded_modulus(kind), "e": e}


def is_registered(jwk: dict[str, str], rules: KeyRules) -> bool:
    body = client_resource(jwks_uri=None, jwks={"keys": [jwk]})
    try:
        client_protocol.from_resource(body, client_id="c", rules=ClientRules(keys=rules))
    except InvalidResource:
        return False
    return True


def is_used(jwk: dict[str, str], rules: KeyRules) -> bool:
    found = parse_document(encode({"keys": [jwk]}), rules=rules)
    try:
        jwks.select(found, kid="k", algorithm="RS384")
    except InvalidClient:
        return False
    return True


@pytest.mark.parametrize("any_odd", [False, True], ids=["only-65537", "any-odd"])
@pytest.mark.parametrize("kind", KINDS)
def test_registration_and_use_judge_alike(kind: str, any_odd: bool) -> None:
    """A07, A09: for every modulus and exponent, under either setting."""
    rules = KeyRules(any_odd_exponent=any_odd)
    allowed = {65_537, 3, 2**32 - 1} if any_odd else {65_537}

    judged = {e: (is_registered(rsa(kind, e), rules), is_used(rsa(kind, e), rules)) for e in EXPONENTS}

    assert judged == {e: (kind in GOOD and e in allowed,) * 2 for e in EXPONENTS}


def test_a_key_registered_under_a_wider_setting_is_not_used_under_a_narrower_one() -> None:
    """A07: the setting was taken back; the client's other keys go on working."""
    body = client_resource(jwks_uri=None, jwks={"keys": [rsa("rsa_size_2048", 3)]})

    stored = client_protocol.from_resource(body, client_id="c", rules=ClientRules(), stored=True)

    assert stored.jwks is not None
    assert [(refused.kid, refused.reason) for refused in stored.jwks.refused] == [("k", "rsa_exponent")]
