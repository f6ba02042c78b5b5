"""Build hostile assertions from the cases in tests/vectors/assertions.json.

A case changes one thing of the documented assertion; every private key is made by tests.keys and never written down.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authserver.protocol import jose
from tests.builders import NOW, assertion_claims
from tests.keys import KeyPair, key
from tests.protocol.weak_keys import encoded_modulus

_P384_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


def resolved(value: Any) -> Any:
    """Return the value with its `$` objects replaced: times, long texts, thumbprints, weak moduli."""
    if isinstance(value, list):
        return [resolved(member) for member in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (name := next(iter(value))) in _MAKERS:
        return _MAKERS[name](value[name])
    return {name: resolved(member) for name, member in value.items()}


def published_keys(case: Mapping[str, Any]) -> list[Any]:
    """Return the client's key set: the signing key, or what the case lists."""
    default = [{"make": case.get("sign", {}).get("algorithm", "ES384")}]
    return [jwk_of(spec) for spec in case.get("keys", default)]


def jwk_of(spec: Any) -> Any:
    """Return a public JWK: `raw` as it stands, or a made key with members `set` or left out (`without`)."""
    if not isinstance(spec, dict) or not {"raw", "make"} & spec.keys():
        return resolved(spec)
    if "raw" in spec:
        return resolved(spec["raw"])
    members = {**key(spec["make"]).jwk, **resolved(spec.get("set", {}))}
    return {name: member for name, member in members.items() if name not in spec.get("without", ())}


def forge(case: Mapping[str, Any]) -> str:
    """Return the assertion of a case."""
    if "raw" in case:
        return str(resolved(case["raw"]))
    sign = case.get("sign", {})
    algorithm = sign.get("algorithm", "ES384")
    header = _changed({"alg": algorithm, "kid": "key-1", "typ": "JWT"}, case, "header")
    if "hmac" in case:
        header["alg"] = case["hmac"]["algorithm"]
    claims = _changed(assertion_claims(), case, "claims")
    claims_bytes = _text(case, "claims_text", claims).encode(case.get("encoding", "utf-8"))
    header_bytes = _text(case, "header_text", header).encode()
    surgery = case.get("surgery", "")
    if surgery.startswith("unused_bits"):
        # Two bytes over a multiple of three leave two bits of the last character unused.
        header_bytes, claims_bytes = (data + b" " * ((2 - len(data)) % 3) for data in (header_bytes, claims_bytes))
    signing_input = f"{jose.encode_segment(header_bytes)}.{jose.encode_segment(claims_bytes)}"
    pair = KeyPair(key(algorithm, sign.get("key", "key-1")).private, sign.get("by", algorithm), "key-1")
    signature = _mac(case["hmac"], signing_input) if "hmac" in case else raw_signature(pair, signing_input)
    return _operated(surgery, signing_input, signature)


def raw_signature(pair: KeyPair, signing_input: str) -> bytes:
    """Return the signature that the pair's algorithm makes of the text, in the form of RFC 7518."""
    return jwt.get_algorithm_by_name(pair.algorithm).sign(signing_input.encode(), pair.private)


def _changed(members: dict[str, Any], case: Mapping[str, Any], part: str) -> dict[str, Any]:
    changed = {**members, **resolved(case.get(part, {}))}
    return {name: value for name, value in changed.items() if name not in case.get(f"without_{part}", ())}


def _text(case: Mapping[str, Any], part: str, members: dict[str, Any]) -> str:
    """Return the JSON of the members, or the case's own text with its placeholders filled in."""
    text = case.get(part)
    ascii_only = "encoding" not in case
    if text is None:
        return json.dumps(members, ensure_ascii=ascii_only)
    inner = json.dumps(members)[1:-1]
    without_exp = json.dumps({name: value for name, value in members.items() if name != "exp"})[1:-1]
    for name, value in (
        ("$CLAIMS_BUT_EXP", without_exp),
        ("$CLAIMS", inner),
        ("$HEADER", inner),
        ("$NOW_300", str(NOW + 300)),
        ("$DIGITS_4000", "1" * 4_000),
        ("$NESTED_5000", "[" * 5_000 + "]" * 5_000),
        ("$OBJECTS_2000", '{"":' * 2_000 + "1" + "}" * 2_000),
    ):
        text = text.replace(name, value)
    return str(text)


def _mac(spec: Mapping[str, str], signing_input: str) -> bytes:
    public = key("ES384").private.public_key()
    forms: dict[str, Callable[[], bytes]] = {
        "pem": lambda: public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": lambda: public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "point": lambda: public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "jwk": lambda: json.dumps(key("ES384").jwk).encode(),
    }
    return hmac.digest(forms[spec["form"]](), signing_input.encode(), getattr(hashlib, f"sha{spec['algorithm'][2:]}"))


def _operated(surgery: str, signing_input: str, signature: bytes) -> str:
    if surgery in _ON_SIGNATURES:
        return f"{signing_input}.{jose.encode_segment(_ON_SIGNATURES[surgery](signature))}"
    token = f"{signing_input}.{jose.encode_segment(signature)}"
    return _ON_TOKENS[surgery](token) if surgery else token


def _der(signature: bytes) -> bytes:
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))


def _segment(index: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def operate(token: str) -> str:
        segments = token.split(".")
        segments[index] = change(segments[index])
        return ".".join(segments)

    return operate


def _next_character(segment: str) -> str:
    """Return the segment with its last bit flipped: another spelling where that bit is unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]


def _json_serialization(token: str, *, general: bool) -> str:
    header, payload, signature = token.split(".")
    signed = {"protected": header, "signature": signature}
    return json.dumps({"payload": payload, "signatures": [signed]} if general else {"payload": payload, **signed})


_ON_SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "no_signature": lambda _: b"",
    "zero_signature": lambda signature: bytes(len(signature)),
    "order_signature": lambda _: _P384_ORDER.to_bytes(48) * 2,
    "der_signature": _der,
    "longer_signature": lambda signature: signature + b"\0",
    "zero_before_s": lambda signature: signature[: len(signature) // 2] + b"\0" + signature[len(signature) // 2 :],
    "huge_signature": lambda signature: signature + bytes(514),
    "shorter_signature": lambda signature: signature[:-1],
    "flipped_signature": lambda signature: signature[:-1] + bytes([signature[-1] ^ 1]),
}
_ON_TOKENS: dict[str, Callable[[str], str]] = {
    "detached": _segment(1, lambda _: ""),
    "five_segments": lambda token: token + ".AAAA.AAAA",
    "four_segments": lambda token: token + ".AAAA",
    "two_segments": lambda token: token.rpartition(".")[0],
    "one_segment": lambda token: token.partition(".")[0],
    "no_header": _segment(0, lambda _: ""),
    "empty": lambda _: "",
    "padded_signature": _segment(2, lambda segment: segment + "="),
    "padded_payload": _segment(1, lambda segment: segment + "=" * (-len(segment) % 4 or 4)),
    "padded_header": _segment(0, lambda segment: segment + "=" * (-len(segment) % 4 or 4)),
    "leading_space": lambda token: " " + token,
    "trailing_space": lambda token: token + " ",
    "trailing_newline": lambda token: token + "\n",
    "inner_newline": _segment(1, lambda segment: segment[:8] + "\n" + segment[8:]),
    "inner_space": _segment(2, lambda segment: segment[:8] + " " + segment[8:]),
    "standard_alphabet": _segment(2, lambda segment: segment[:-4] + "+/+/"),
    "percent_encoded": _segment(2, lambda segment: f"%{ord(segment[0]):x}" + segment[1:]),
    "one_character_more": _segment(2, lambda segment: segment + "A"),
    "unused_bits_in_header": _segment(0, _next_character),
    "unused_bits_in_payload": _segment(1, _next_character),
    "unused_bits_in_signature": _segment(2, _next_character),
    "json_flattened": lambda token: _json_serialization(token, general=False),
    "json_general": lambda token: _json_serialization(token, general=True),
    "quoted": lambda token: f'"{token}"',
    "bearer": lambda token: f"Bearer {token}",
    "fullwidth": lambda token: token.replace(".", "\uff0e"),
}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _coordinate(member: str) -> Callable[[str], str]:
    return lambda algorithm: str(key(algorithm).jwk[member])


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "$now": lambda offset: NOW + offset,
    "$repeat": lambda spec: spec[0] * spec[1],
    "$nested": _nested,
    "$thumbprint": lambda algorithm: key(algorithm).thumbprint,
    "$x_of": _coordinate("x"),
    "$modulus": encoded_modulus,
    "$hex": lambda text: jose.encode_segment(bytes.fromhex(text)),
    "$filters": lambda count: " ".join(f"system/Patient.rs?_id={number}" for number in range(10, 10 + count)),
}
