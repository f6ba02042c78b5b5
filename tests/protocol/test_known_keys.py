"""Keys that everybody has are refused by thumbprint, in any spelling. Threat A08."""

from base64 import urlsafe_b64decode

import pytest

from authserver.errors import InvalidClient
from authserver.protocol.client import ClientRules
from authserver.protocol.jose import encode_segment
from authserver.protocol.jwks import UnusableKey, parse_key, parse_keys, select
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.known_keys import PUBLICLY_KNOWN
from tests.builders import make_client
from tests.keys import key

RFC_7515_A3 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
SMART_RS384 = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "wJq2RHIA-7RT6q4go7wjcbHdW7ck7Kz22A8wf-kN7Wi5CWvhFG2_Y7nQp1lDpb2IKMQr-Q4n_vgJ6d5rWPspJpSPY7iffUK4ipQCEbzID5DJ"
    "6fQMBZOfCTXyxkuMh3jYGKEF3Ziw2oxbM1H9j-eJAPtrj5stUG6kVoXowegdox-bSjWP0iI5PnkwUNzcekLMug4M3LRluEQgGR9O_BAML6-w3igZ"
    "_rZA_gunyrLAMbfmCVaceW5ohLp679kyM7U6W2gDK_NbkDKcINUakVmPeoG5h8RzgGzvGrySR0k0VDFiZv60Ua07DqHTeDGH9e4NV07AECae-oyk"
    "Ij5NDCs3pw",
}
SMART_ES384 = {
    "kty": "EC",
    "crv": "P-384",
    "x": "pyqburM9y8HPcFhNosDW6ngoVEJitqXi_HJgI5hYqX21PoFDwCbYirGy_o0oapIU",
    "y": "95bxkCnMKoHvgbcPAIAcgzzu8scd81mXfM_IzuJFNfkUNkGYBFGvuEU1KPi5j1ob",
}
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
SAMPLES = {
    "RFC 7515 appendix A.3": RFC_7515_A3,
    "SMART App Launch implementation guide, sample RS384 key": SMART_RS384,
    "SMART App Launch implementation guide, sample ES384 key": SMART_ES384,
    "RFC 8037 appendix A.1": RFC_8037,
}
DEVELOPMENT = KeyRules(publicly_known=True)


@pytest.mark.parametrize("origin", SAMPLES)
def test_a_publicly_known_key_is_refused_and_its_origin_is_named(origin: str) -> None:
    with pytest.raises(UnusableKey) as refused:
        parse_key({**SAMPLES[origin], "kid": "key-1"}, rules=KeyRules())

    wanted = f"everybody has the private half ({origin}); make a key of your own"
    assert (refused.value.reason, str(refused.value)) == ("key_publicly_known", wanted)


@pytest.mark.parametrize("origin", SAMPLES)
def test_development_takes_it(origin: str) -> None:
    assert parse_key({**SAMPLES[origin], "kid": "key-1"}, rules=DEVELOPMENT).kid == "key-1"


def test_a_key_of_ones_own_is_no_known_key() -> None:
    assert parse_key(key().jwk, rules=KeyRules()).kid == "key-1"


@pytest.mark.parametrize("member", ["n", "e"])
def test_zeros_before_a_number_hide_no_key(member: str) -> None:
    """The thumbprint is of the key, not of the spelling that its sender chose."""
    octets = urlsafe_b64decode(SMART_RS384[member] + "==")
    respelled = {**SMART_RS384, member: encode_segment(b"\0" + octets)}

    with pytest.raises(UnusableKey) as refused:
        parse_key(respelled, rules=KeyRules())

    assert refused.value.reason == "key_publicly_known"


def test_using_a_known_key_has_its_own_reason() -> None:
    keys = parse_keys([{**RFC_7515_A3, "kid": "known"}, key().jwk], rules=KeyRules())

    with pytest.raises(InvalidClient) as refused:
        select(keys, kid="known", algorithm="ES256")

    assert refused.value.reason == "key_publicly_known"
    assert select(keys, kid="key-1", algorithm="ES384").thumbprint == key().thumbprint


def test_the_list_is_of_thumbprints_with_an_origin_each() -> None:
    """43 characters are a SHA-256; RFC 7638 gives the first one as its example."""
    assert PUBLICLY_KNOWN["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"] == "RFC 7517 appendix A.2 (RSA)"
    assert {len(name) for name in PUBLICLY_KNOWN} == {43}
    assert all(PUBLICLY_KNOWN.values())


def test_a_client_registered_before_keeps_its_good_keys_and_the_reason_for_the_other() -> None:
    """Registered in development mode or by a former version: the known key proves nothing, its neighbour does."""
    jwks = {"keys": [{**RFC_7515_A3, "kid": "known"}, key().jwk]}

    client = make_client(rules=ClientRules(keys=DEVELOPMENT), jwks_uri=None, jwks=jwks)

    assert client.jwks is not None
    assert [read.kid for read in client.jwks.keys] == ["known", "key-1"]
