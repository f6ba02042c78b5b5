"""A short run of the token fuzzing, and hypothesis on top: threats A01 to A23 beyond the cases that anyone listed.

The long run is `make fuzz`.
"""

from random import Random

import joserfc.errors
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.errors import InvalidClient
from authserver.protocol import jose
from authserver.protocol.token_request import ClientAssertion
from tests.builders import NOW, assertion_claims
from tests.fuzz import tokens
from tests.fuzz.tokens import ALGORITHMS, Report, pair

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated:joserfc.errors.SecurityWarning")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_mutated_tokens_are_refused_or_good_for_others_too() -> None:
    """Threats A01 to A23: nothing but a refusal comes back, and what we accept, PyJWT and joserfc accept."""
    report = tokens.run(3_000, seed=20_260_801)

    assert report.tokens == 3_000
    assert report.accepted + sum(report.reasons.values()) == 3_000
    # The run is worth something only when it comes far: to the signature, to the claims, and through.
    assert report.accepted > 100
    assert {
        "jws_malformed",
        "alg_not_allowed",
        "key_not_found",
        "aud_mismatch",
        "exp_malformed",
    } <= report.reasons.keys()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused_as_a_token(text: str) -> None:
    authentication = tokens.open_authentication()

    with pytest.raises(InvalidClient):
        authentication.authenticate(ClientAssertion(text), now=NOW)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(tokens.CLAIM_NAMES), _json)
def test_any_json_as_a_claim_is_judged_without_a_stray_error(name: str, value: object) -> None:
    """Threat B01, beyond the forty cases: signed rightly, so that the claims are looked at."""
    token = tokens.signed(Random(1), "ES256", {"alg": "ES256", "kid": "kid-ES256"}, {**assertion_claims(), name: value})
    report = Report()

    tokens.judge(tokens.open_authentication(), token, report)

    assert report.tokens == 1


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(tokens.HEADER_NAMES), _json)
def test_any_json_in_the_header_is_judged_without_a_stray_error(name: str, value: object) -> None:
    """Threats A01, A10, A17, A18."""
    header = {"alg": "ES256", "kid": "kid-ES256", name: value}
    report = Report()

    tokens.judge(tokens.open_authentication(), tokens.signed(Random(1), "ES256", header, assertion_claims()), report)

    assert report.tokens == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_foreign_libraries_tell_a_wrong_signature(algorithm: str) -> None:
    """The positive control of the differential: they accept this token and refuse it with one bit changed."""
    good = pair(algorithm).sign(assertion_claims(), header={"alg": algorithm})
    signing_input, _, signature = good.rpartition(".")
    injured = bytearray(jose.decode_segment(signature))
    injured[-1] ^= 1
    tokens.assert_others_accept(good)

    with pytest.raises((jwt.InvalidSignatureError, joserfc.errors.BadSignatureError)):
        tokens.assert_others_accept(f"{signing_input}.{jose.encode_segment(bytes(injured))}")
