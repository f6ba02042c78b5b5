"""The other library's ES384: the same verdicts as `cryptography`, and used only where it gives them."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from authserver.adapters.fast_signatures import FastSignatures, LateSignatureCheck, signature_check
from authserver.errors import InvalidJws
from authserver.protocol import jose
from authserver.protocol.jose import AnyPublicKey, SignatureCheck, UnverifiedJws
from tests.keys import key

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def aws_lc() -> Any:
    return importlib.import_module("awscrt.crypto").EC


@pytest.fixture(scope="module")
def fast() -> SignatureCheck:
    return FastSignatures(aws_lc())


def signed(algorithm: str = "ES384", kid: str = "key-1") -> tuple[UnverifiedJws, AnyPublicKey]:
    """Return a token and the key that verifies it."""
    pair = key(algorithm, kid)
    return jose.parse(pair.sign({"a": 1}), algorithms=(algorithm,)), pair.private.public_key()


def verdict(check: SignatureCheck, jws: UnverifiedJws, public: AnyPublicKey) -> str:
    try:
        check(jws, public)
    except InvalidJws as error:
        return str(error.reason)
    return "verified"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_right_signature_verifies_and_another_keys_does_not(fast: SignatureCheck, algorithm: str) -> None:
    """Threat A23, for what is done by the other library and for what is left to the first."""
    jws, public = signed(algorithm)

    assert verdict(fast, jws, public) == "verified"
    assert verdict(fast, jws, signed(algorithm, "key-2")[1]) == "signature_invalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda r, s: (0, s),
        lambda r, s: (r, 0),
        lambda r, s: (0, 0),
        lambda r, s: (ORDER, s),
        lambda r, s: (r, ORDER),
        lambda r, s: (r, 2**384 - 1),
        lambda r, s: (s, r),
        lambda r, s: (r, s ^ 1),
        lambda r, s: (r ^ 1, s),
    ],
)
def test_numbers_that_are_no_signature_are_refused(
    fast: SignatureCheck, change: Callable[[int, int], tuple[int, int]]
) -> None:
    jws, public = signed()
    pair = int.from_bytes(jws.signature[:48]), int.from_bytes(jws.signature[48:])
    changed = b"".join(number.to_bytes(48) for number in change(*pair))

    assert verdict(fast, jws, public) == "verified"
    assert verdict(fast, replace(jws, signature=changed), public) == "signature_invalid"


def test_the_second_signature_with_the_other_s_verifies_in_both(fast: SignatureCheck) -> None:
    """ECDSA has two of each; JWS forbids neither, and a jti is no signature, so nothing can be replayed by it."""
    jws, public = signed()
    twin = jws.signature[:48] + (ORDER - int.from_bytes(jws.signature[48:])).to_bytes(48)

    verdicts = [verdict(check, replace(jws, signature=twin), public) for check in (fast, jose.check_signature)]

    assert verdicts == ["verified", "verified"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_both_libraries_give_the_same_verdict(fast: SignatureCheck, data: st.DataObject) -> None:
    """Differential: signatures and texts with bytes changed, cut off or added, and keys exchanged."""
    jws, public = signed(kid=data.draw(st.sampled_from(["key-1", "key-2"])))
    signature = bytearray(jws.signature)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 95), st.integers(0, 255)), max_size=2)):
        signature[at] = value
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 48, 96]))
    text = jws.signing_input + data.draw(st.sampled_from([b"", b"", b"."]))
    changed = replace(jws, signature=bytes(signature[: 96 - cut]), signing_input=text)

    assert verdict(fast, changed, public) == verdict(jose.check_signature, changed, public)


class Broken:
    """A class of keys that answers as it is told."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self._answer = answer

    def new_key_from_der_data(self, der: bytes) -> "Broken":
        return self

    def verify(self, digest: bytes, signature: bytes) -> object:
        return self._answer()


def _fails() -> object:
    raise RuntimeError("no answer")


def test_where_the_other_library_fails_the_first_one_decides() -> None:
    check = FastSignatures(Broken(_fails))
    jws, public = signed()

    assert verdict(check, jws, public) == "verified"
    assert verdict(check, jws, signed(kid="key-2")[1]) == "signature_invalid"


@pytest.mark.parametrize("answer", [True, False])
def test_a_library_that_answers_wrongly_is_not_used(answer: bool) -> None:
    with capture_logs() as logs:
        check = signature_check(install=lambda: Broken(lambda: answer))

    assert check is jose.check_signature
    assert [line["event"] for line in logs] == ["fast_signatures_refused"]


def test_without_the_extra_there_is_one_library() -> None:
    def missing() -> object:
        raise ImportError

    assert signature_check(install=missing) is jose.check_signature


def test_with_the_extra_it_is_used() -> None:
    with capture_logs() as logs:
        check = signature_check()

    assert (type(check), logs) == (FastSignatures, [])


def test_a_p384_signature_in_der_is_refused(fast: SignatureCheck) -> None:
    """RFC 7518 section 3.4: R and S at their full length, never DER."""
    jws, public = signed()
    private = key().private
    der = private.sign(jws.signing_input, ec.ECDSA(hashes.SHA384()))

    assert decode_dss_signature(der)
    assert verdict(fast, replace(jws, signature=der), public) == "signature_invalid"


class Finder:
    """Counts how often the fastest check was looked for."""

    def __init__(self) -> None:
        self.looked = 0

    def __call__(self) -> SignatureCheck:
        self.looked += 1
        return signature_check()


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "PS384", "ES256", "ES512", "EdDSA"])
def test_the_other_library_is_not_looked_for_without_es384(algorithm: str) -> None:
    find = Finder()
    jws, public = signed(algorithm)

    found = [verdict(LateSignatureCheck(find=find), jws, key) for key in (public, signed(algorithm, "key-2")[1])]

    assert (found, find.looked) == (["verified", "signature_invalid"], 0)


def test_the_other_library_is_looked_for_once() -> None:
    find = Finder()
    check = LateSignatureCheck(find=find)
    jws, public = signed()

    found = [verdict(check, jws, key) for key in (public, signed(kid="key-2")[1], public)]

    assert (found, find.looked) == (["verified", "signature_invalid", "verified"], 1)
