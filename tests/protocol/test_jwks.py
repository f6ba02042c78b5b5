"""Key sets: which keys are usable, why the others are not, and which one key an assertion names."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authserver.errors import InvalidClient, InvalidJws
from authserver.protocol import jose, jwks
from authserver.protocol.jwks import JwkSet, RefusedKey, parse_document, parse_key, parse_keys
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.render import encode
from tests.builders import vectors
from tests.keys import key
from tests.protocol.forgery import jwk_of

RULES = KeyRules()
RFC_7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4"
    "n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQv"
    "RL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnq"
    "DKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
"""The example of RFC 7638 section 3.1."""


def key_set(*specs: object) -> JwkSet:
    """Return the parsed set of the keys that the specs describe."""
    return parse_keys([jwk_of(spec) for spec in specs], rules=RULES)


@pytest.mark.parametrize("case", vectors("key_sets"))
def test_each_key_of_a_set_is_judged_by_itself(case: dict[str, Any]) -> None:
    """Threats A03, A05 to A07, A09, A19 to A21; the good key beside the bad one is the positive control."""
    keys = [jwk_of(spec) for spec in case["keys"]]

    read = parse_keys(keys, rules=KeyRules(any_odd_exponent=case.get("any_odd_exponent", False)))

    assert [one.kid for one in read.keys] == case["usable"]
    assert [[one.index, one.reason] for one in read.refused] == case["refused"]


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("member", ["x", "y"])
def test_a_coordinate_has_one_length(algorithm: str, member: str) -> None:
    """Threat A05: with a zero before it a coordinate is the same number, and the key would have two spellings."""
    good = key(algorithm).jwk
    longer = jose.encode_segment(b"\0" + jose.decode_segment(good[member]))

    read = key_set(good, {"raw": {**good, member: longer, "kid": "longer"}})

    assert [one.kid for one in read.keys] == [good["kid"]]
    assert [(one.kid, one.reason) for one in read.refused] == [("longer", "key_malformed")]


def test_a_refusal_names_place_kid_and_kind_and_quotes_no_value() -> None:
    read = key_set({"make": "ES384"}, {"make": "RS384", "set": {"d": "c2VjcmV0", "kid": "leaked"}})

    message = "the key has private members; it is compromised, publish a new public key"
    assert read.refused == (RefusedKey(1, "leaked", "RSA", "private_key", message),)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"make": "ES384"}, False),
        ({"make": "ES384", "set": {"use": "enc"}}, False),
        ({"make": "ES384", "set": {"d": "AAAA"}}, True),
        ({"raw": {"kty": "oct"}}, True),
    ],
)
def test_a_set_with_a_secret_is_flagged(spec: object, expected: bool) -> None:
    """Threat A20: the owner must hear that the key is compromised."""
    assert bool(key_set(spec).secrets) is expected


def test_a_set_has_what_it_names_by_kid_or_thumbprint_usable_or_not() -> None:
    read = key_set({"make": "ES384"}, {"make": "RS384", "set": {"kid": "refused", "use": "enc"}})

    named = [kid for kid in ("key-1", key().thumbprint, "refused", "other", key("RS384").thumbprint) if read.has(kid)]

    assert named == ["key-1", key().thumbprint, "refused"]


def test_thumbprint_is_that_of_rfc_7638() -> None:
    assert jwks.thumbprint(RFC_7638_KEY) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_parsed_key_knows_its_binding() -> None:
    parsed = parse_key(key().jwk, rules=RULES)

    described = (parsed.kid, parsed.kty, parsed.curve, parsed.algorithm, parsed.thumbprint)
    assert described == ("key-1", "EC", "P-384", "ES384", key().thumbprint)
    assert parsed.key == key().private.public_key()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"keys":null}',
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[NaN]}',
        b'\xef\xbb\xbf{"keys":[]}',
        '{"keys":[]}'.encode("utf-16"),
        b'{"keys":[[[[[[[[[1]]]]]]]]]}',
        b'{"keys":[' + b"[" * 50_000,
        encode({"keys": [{}] * 33}),
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """Threat A21."""
    with pytest.raises(InvalidClient) as refused:
        parse_document(document, rules=RULES)

    assert refused.value.reason == "jwks_malformed"


def test_a_document_of_32_keys_is_read() -> None:
    document = {"keys": [{**key().jwk, "kid": str(number)} for number in range(32)], "other": 1}

    read = parse_document(encode(document), rules=RULES)

    assert [one.kid for one in read.keys] == [str(number) for number in range(32)]


def test_the_kid_names_its_key_before_a_thumbprint_does() -> None:
    """Row A14 of the decisions: a thumbprint counts only where no key has it as kid."""
    read = key_set({"make": "ES384"}, {"make": "ES384", "set": {**key("ES384", "key-2").jwk, "kid": key().thumbprint}})

    chosen = jwks.select(read, kid=key().thumbprint, algorithm="ES384")

    assert chosen.thumbprint == key("ES384", "key-2").thumbprint


@pytest.mark.parametrize(
    ("algorithms", "header", "reason"),
    [
        (("ES384",), {"kid": None}, "kid_missing"),
        (("ES384",), {"kid": "x" * 257}, "kid_missing"),
        (("ES384",), {"kid": "other"}, "key_not_found"),
        (("RS384",), {}, "alg_not_allowed"),
    ],
)
def test_a_token_without_its_key_is_refused(algorithms: tuple[str, ...], header: dict[str, str], reason: str) -> None:
    token = key().sign({"a": 1}, header=header)

    with pytest.raises(InvalidClient) as refused:
        jwks.verify(token, key_set({"make": "ES384"}), algorithms=algorithms)

    assert refused.value.reason == reason


def test_a_token_with_its_key_is_verified() -> None:
    verified = jwks.verify(key().sign({"a": 1}), key_set({"make": "ES384"}), algorithms=("ES384",))

    assert verified.claims() == {"a": 1}


def test_a_key_of_small_order_would_verify_what_nobody_signed() -> None:
    """Threat A07: the reason for the refusal of such keys; the signature is made without any private key."""
    neutral = b"\x01" + bytes(31)
    refused = parse_keys([{"kty": "OKP", "crv": "Ed25519", "x": jose.encode_segment(neutral)}], rules=RULES)

    forged = jose.UnverifiedJws({"alg": "EdDSA"}, b"", b"anything", neutral + bytes(32))
    weak = Ed25519PublicKey.from_public_bytes(neutral)

    jose.check_signature(forged, weak)
    with pytest.raises(InvalidJws):
        jose.check_signature(forged, key("EdDSA").private.public_key())
    assert [one.reason for one in refused.refused] == ["okp_small_order"]
