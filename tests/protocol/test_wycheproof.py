"""Project Wycheproof's public vectors through our own entry points, `jwks.verify` and the algorithms of `jose`.

The files are not part of the repository. AUTHSERVER_WYCHEPROOF_DIR names their folder; else
`../shared/vectors/wycheproof` beside the project is used when it is there.
Source: github.com/C2SP/wycheproof, folder testvectors_v1.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from authserver.adapters.fast_signatures import FastSignatures, signature_check
from authserver.errors import InvalidClient
from authserver.protocol import jose, jwks
from authserver.protocol.key_policy import KeyRules

BESIDE_THE_PROJECT = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof"
FOLDER = Path(os.environ.get("AUTHSERVER_WYCHEPROOF_DIR", BESIDE_THE_PROJECT))
ALL = tuple(jose.ALGORITHMS)
RULES = KeyRules(any_odd_exponent=True, publicly_known=True)
ERRATA = frozenset({346, 347, 350, 351, 367, 370, 372, 373})
"""Cases of json_web_signature_test.json whose own verdict is wrong.

346 and 350: the key is for PS256 and the token says PS384. 347 and 351: the key says "ES521", which is no name.
367 and 370: the padding was lost, the text is that of the valid case 357. 372 and 373: a `?` in a segment.
"""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="set AUTHSERVER_WYCHEPROOF_DIR to the vectors' folder")


def groups(name: str) -> list[dict[str, Any]]:
    """Return the test groups of a file."""
    return list(json.loads((FOLDER / name).read_text())["testGroups"])


def key_set(group: Mapping[str, Any]) -> jwks.JwkSet:
    """Return the group's public keys as a client would publish them; a single key without kid gets one."""
    return jwks.parse_keys(_keys(group.get("public") or group.get("private") or {}), rules=RULES)


def _keys(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(document.get("keys", [document]))


def is_accepted(token: object, keys: jwks.JwkSet) -> bool:
    """Say whether our entry point verifies the token; a token without kid names the only key there is."""
    if not isinstance(token, str):
        return False
    try:
        jws = jose.parse(token, algorithms=ALL)
        if "kid" in jws.header or len(keys.keys) + len(keys.refused) > 1:
            jwks.verify(token, keys, algorithms=ALL)
            return True
        jose.check_signature(jws, jwks.select(_named(keys), kid="only", algorithm=jws.algorithm).key)
    except InvalidClient:
        return False
    return True


def _named(keys: jwks.JwkSet) -> jwks.JwkSet:
    return jwks.JwkSet(
        tuple(jwks.PublicKey("only", k.kty, k.curve, k.algorithm, k.thumbprint, k.key) for k in keys.keys),
        tuple(jwks.RefusedKey(k.index, "only", k.kty, k.reason, k.message) for k in keys.refused),
    )


def is_expected(case: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    """Say whether an asymmetric-only server accepts the case: what is valid and signed, but not by HMAC."""
    symmetric = any(key.get("kty") == "oct" for key in _keys(group.get("private") or {}))
    return case["result"] == "valid" and "jws" in case and not symmetric


def mistakes(name: str) -> tuple[int, int, list[str]]:
    """Return how many cases were judged, how many accepted, and those that were judged wrongly."""
    judged = accepted = 0
    wrong = []
    for group in groups(name):
        for case in group["tests"]:
            if name == "json_web_signature_test.json" and case["tcId"] in ERRATA:
                continue
            answer = is_accepted(case.get("jws"), key_set(group))
            judged, accepted = judged + 1, accepted + answer
            if answer != is_expected(case, group):
                wrong.append(f"{case['tcId']} {case['result']} {case['comment']}")
    return judged, accepted, wrong


def test_every_signed_token_is_answered_rightly() -> None:
    """Threats A01 to A07, A10 to A13, A16, A19; the 8 errata are left out, HMAC is refused throughout."""
    judged, accepted, wrong = mistakes("json_web_signature_test.json")

    assert (judged, accepted, wrong) == (393, 32, [])


def test_every_key_set_is_answered_rightly() -> None:
    """Threats A03, A05 to A07, A19; of the five valid cases four are HMAC."""
    judged, accepted, wrong = mistakes("json_web_key_test.json")

    assert (judged, accepted, wrong) == (26, 1, [])


def test_every_encrypted_token_is_refused() -> None:
    """Threat A13: there is no decryption here."""
    tokens = [case["jwe"] for group in groups("json_web_encryption_test.json") for case in group["tests"]]

    accepted = [token for token in tokens if is_accepted(token, jwks.JwkSet(()))]

    assert (len(tokens), accepted) == (139, [])


def test_the_joint_file_is_answered_rightly() -> None:
    judged, accepted, wrong = mistakes("json_web_crypto_test.json")

    assert (judged, accepted, wrong) == (83, 2, [])


RAW = {
    "rsa_signature_2048_sha256_test.json": "RS256",
    "rsa_signature_2048_sha384_test.json": "RS384",
    "rsa_signature_3072_sha384_test.json": "RS384",
    "rsa_signature_4096_sha384_test.json": "RS384",
    "rsa_pss_2048_sha384_mgf1_48_test.json": "PS384",
    "ecdsa_secp256r1_sha256_p1363_test.json": "ES256",
    "ecdsa_secp384r1_sha384_p1363_test.json": "ES384",
    "ecdsa_secp521r1_sha512_p1363_test.json": "ES512",
    "ed25519_test.json": "EdDSA",
}


def _signatures(name: str) -> Iterator[tuple[bool, bool]]:
    """Yield for each case whether it is valid, and whether our check of the algorithm agrees to the signature."""
    check = jose.ALGORITHMS[RAW[name]].check
    for group in groups(name):
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        for case in group["tests"]:
            yield case["result"] == "valid", _verifies(check, key, case)


def _verifies(check: jose.Check, key: object, case: Mapping[str, str]) -> bool:
    try:
        check(key, bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
    except InvalidSignature:
        return False
    return True


def test_the_other_library_answers_every_raw_signature_rightly() -> None:
    """Threat A04, for the extra `fast`."""
    check, answers = signature_check(), []
    for group in groups("ecdsa_secp384r1_sha384_p1363_test.json"):
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for case in group["tests"]:
            jws = jose.UnverifiedJws({"alg": "ES384"}, b"", bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            answers.append((case["result"] == "valid", _passes(check, jws, key)))

    assert isinstance(check, FastSignatures)
    assert {verified for _, verified in answers} == {True, False}
    assert [valid for valid, _ in answers] == [verified for _, verified in answers]


def _passes(check: jose.SignatureCheck, jws: jose.UnverifiedJws, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        check(jws, key)
    except InvalidClient:
        return False
    return True


@pytest.mark.parametrize("name", RAW)
def test_every_raw_signature_is_answered_rightly(name: str) -> None:
    """Threat A04."""
    answers = list(_signatures(name))

    assert [valid for valid, _ in answers] == [verified for _, verified in answers]
    assert {verified for _, verified in answers} == {True, False}
