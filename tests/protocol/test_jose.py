"""The strict compact JWS: one spelling, one reading, no algorithm by chance; PyJWT as the second opinion."""

import dataclasses
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.types import Options

from authserver.errors import InvalidClient, InvalidJws
from authserver.protocol import jose, jwks
from authserver.protocol.key_policy import KeyRules
from tests.builders import assertion_claims, vectors
from tests.keys import key
from tests.protocol.forgery import forge, published_keys, raw_signature

ALL = tuple(jose.ALGORITHMS)


def test_a_token_is_taken_apart() -> None:
    token = key().sign({"a": 1})

    parsed = jose.parse(token, algorithms=ALL)

    assert dict(parsed.header) == {"alg": "ES384", "kid": "key-1", "typ": "JWT"}
    assert (parsed.algorithm, parsed.claims()) == ("ES384", {"a": 1})
    assert parsed.signing_input.decode() == token.rpartition(".")[0]
    assert jose.encode_segment(parsed.signature) == token.rpartition(".")[2]


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)
def test_each_algorithm_checks_the_signature_of_its_own_key_only(algorithm: str) -> None:
    """Row A14; the other key of the same kind is the negative control."""
    parsed = jose.parse(key(algorithm).sign({"a": 1}), algorithms=(algorithm,))

    jose.check_signature(parsed, key(algorithm).private.public_key())
    with pytest.raises(InvalidJws) as refused:
        jose.check_signature(parsed, key(algorithm, "key-2").private.public_key())

    assert refused.value.reason == "signature_invalid"


def test_the_name_of_rfc_9864_is_the_same_algorithm() -> None:
    pair = key("EdDSA")
    signing_input = jose.encode_segment(b'{"alg":"Ed25519"}') + ".e30"
    token = f"{signing_input}.{jose.encode_segment(raw_signature(pair, signing_input))}"

    parsed = jose.parse(token, algorithms=("Ed25519",))

    jose.check_signature(parsed, pair.private.public_key())
    assert parsed.algorithm == "Ed25519"


@pytest.mark.parametrize("changed", ["payload", "header", "signature"])
def test_one_changed_byte_breaks_the_signature(changed: str) -> None:
    parsed = jose.parse(key().sign({"a": 1}), algorithms=ALL)
    signing_input, signature = parsed.signing_input, parsed.signature
    altered = {
        "payload": (signing_input[:-1] + b"x", signature),
        "header": (b"x" + signing_input[1:], signature),
        "signature": (signing_input, bytes([signature[0] ^ 1]) + signature[1:]),
    }[changed]
    forged = dataclasses.replace(parsed, signing_input=altered[0], signature=altered[1])

    with pytest.raises(InvalidJws) as refused:
        jose.check_signature(forged, key().private.public_key())

    assert refused.value.reason == "signature_invalid"


def salted(salt: Any) -> jose.UnverifiedJws:
    """Return a token that the PS384 key has signed with a salt of this length in bytes."""
    pair = key("PS384")
    jws = jose.parse(pair.sign({"a": 1}), algorithms=ALL)
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=salt)
    return dataclasses.replace(jws, signature=pair.private.sign(jws.signing_input, scheme, hashes.SHA384()))


@pytest.mark.parametrize("salt", [0, 32, 47, 49, padding.PSS.MAX_LENGTH])
def test_the_salt_of_pss_is_as_long_as_the_hash(salt: Any) -> None:
    """Threat A05: RFC 7518 section 3.5 fixes the length, so a signature has one form."""
    public = key("PS384").private.public_key()
    jose.check_signature(salted(48), public)

    with pytest.raises(InvalidJws) as refused:
        jose.check_signature(salted(salt), public)

    assert refused.value.reason == "signature_invalid"


def test_no_symmetric_algorithm_exists_to_be_allowed() -> None:
    """Threats A01 and A02: a setting can only choose among these."""
    assert {algorithm.kty for algorithm in jose.ALGORITHMS.values()} == {"RSA", "EC", "OKP"}
    assert not {"none", "HS256", "HS384", "HS512"} & jose.ALGORITHMS.keys()


def test_an_allow_list_with_an_unknown_name_allows_nothing_more() -> None:
    token = jwt.encode({"a": 1}, "a shared secret of some length, 32", algorithm="HS256")

    with pytest.raises(InvalidJws) as refused:
        jose.parse(token, algorithms=("HS256", "none"))

    assert refused.value.reason == "alg_not_allowed"


def test_a_token_of_the_greatest_length_is_read() -> None:
    signature = key().sign({"a": 1}).rpartition(".")[2]
    header = key().sign({"a": 1}).partition(".")[0]
    room = jose.MAX_TOKEN_LENGTH - len(header) - len(signature) - 2
    payload = "A" * (room - (room % 4 == 1))

    parsed = jose.parse(f"{header}.{payload}.{signature}", algorithms=ALL)

    assert len(parsed.payload) == len(payload) * 3 // 4


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_base64url_goes_round(data: bytes) -> None:
    assert jose.decode_segment(jose.encode_segment(data)) == data


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ABCDwxyz0189-_+/= \n", max_size=12) | st.text(max_size=8))
def test_bytes_have_one_spelling_in_base64url(segment: str) -> None:
    """Threat A16: what decodes at all is what encoding would have written."""
    try:
        data = jose.decode_segment(segment)
    except InvalidJws:
        return

    assert jose.encode_segment(data) == segment


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"\A[\w-]{0,20}(\.[\w-]{0,20}){0,4}\Z"))
def test_any_text_is_a_token_or_invalid_jws(text: str) -> None:
    try:
        parsed = jose.parse(text, algorithms=ALL)
    except InvalidJws:
        return

    assert parsed.algorithm in ALL


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]), st.none() | st.text() | st.booleans())
)
def test_any_header_is_read_or_invalid_jws(header: dict[str, Any]) -> None:
    segment = jose.encode_segment(json.dumps(header).encode())
    try:
        parsed = jose.parse(f"{segment}.e30.AAAA", algorithms=ALL)
    except InvalidJws:
        return

    assert (parsed.header, parsed.claims()) == (header, {})


def pyjwt_accepts(token: str, public: Any, algorithm: str) -> bool:
    """Say whether PyJWT verifies the token with the key and the algorithm; times and audience are not its task here."""
    unchecked: Options = {
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_aud": False,
        "verify_sub": False,
        "verify_jti": False,
    }
    try:
        jwt.decode(token, public, algorithms=[algorithm], options=unchecked)
    except jwt.PyJWTError:
        return False
    return True


def ours_accepts(token: str, keys: jwks.JwkSet) -> jwks.PublicKey | None:
    """Return the key by which our entry point verified the token, or None."""
    try:
        verified = jwks.verify(token, keys, algorithms=ALL)
        verified.claims()
        return jwks.select(keys, kid=verified.header["kid"], algorithm=verified.algorithm)
    except InvalidClient:
        return None


@pytest.mark.parametrize("case", vectors("assertions", lambda case: case.get("keys", ()) is not None))
def test_what_ours_accepts_pyjwt_accepts(case: dict[str, Any]) -> None:
    """The strict reading is a subset of the usual one, over every valid and hostile assertion."""
    token, keys = forge(case), jwks.parse_keys(published_keys(case), rules=KeyRules())

    chosen = ours_accepts(token, keys)

    assert chosen is None or pyjwt_accepts(token, chosen.key, jwt.get_unverified_header(token)["alg"])
    assert chosen is not None or case["reason"] is not None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.sampled_from(["A", "-", "=", ".", " ", "é", ""]), st.integers(0, 2))
def test_what_ours_accepts_of_mutated_tokens_pyjwt_accepts(place: int, text: str, cut: int) -> None:
    token = key().sign(assertion_claims(jti="one"))
    mutated = token[:place] + text + token[place + cut :]
    keys = jwks.parse_keys([key().jwk], rules=KeyRules())

    chosen = ours_accepts(mutated, keys)

    assert chosen is None or pyjwt_accepts(mutated, chosen.key, "ES384")
    assert chosen is not None or mutated != token
