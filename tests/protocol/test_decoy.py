"""Decoys take a verification's time and prove nothing. Threat E07."""

import pytest

from authserver.protocol import jose
from authserver.protocol.decoy import Decoys
from tests.builders import make_assertion
from tests.keys import key

DECOYS = Decoys()


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_there_is_a_decoy_for_every_algorithm(algorithm: str) -> None:
    jws = jose.parse(make_assertion(key(algorithm)), algorithms=tuple(jose.ALGORITHMS))

    DECOYS.verify(jws)

    assert {bits: decoy.key_size for bits, decoy in DECOYS.rsa_keys.items()} == {2048: 2048, 3072: 3072, 4096: 4096}
    assert set(DECOYS.curve_keys) == {"P-256", "P-384", "P-521", "Ed25519"}


@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 256, b"\xff" * 512])
def test_a_signature_of_any_length_is_taken(signature: bytes) -> None:
    jws = jose.UnverifiedJws({"alg": "RS384"}, b"{}", b"e30.e30", signature)

    DECOYS.verify(jws)

    with pytest.raises(jose.InvalidJws):
        jose.check_signature(jws, DECOYS.rsa_keys[2048])


def test_decoys_are_the_same_in_every_process() -> None:
    assert Decoys().rsa_keys[2048] == DECOYS.rsa_keys[2048]
    assert Decoys().curve_keys["P-384"] == DECOYS.curve_keys["P-384"]
