"""Coverage-guided fuzzing with atheris (`make fuzz-guided`): bytes that reach new branches are kept and bred further.

Whatever the bytes are, the readers raise their own refusals and nothing else. `python -m tests.fuzz.guided RUNS`.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["authserver.protocol"]):
    from authserver.errors import AuthServerError
    from authserver.protocol import jose, jwks, scopes, strict_json, token_request
    from authserver.protocol.assertion import peek
    from authserver.protocol.key_policy import KeyRules
    from authserver.protocol.render import encode
    from authserver.protocol.token_request import ClientAssertion

from tests.builders import NOW, assertion_claims, token_form
from tests.fuzz.tokens import ALGORITHMS, corpus, open_authentication, pair

AUTHENTICATION = open_authentication()
REFUSALS = (AuthServerError, strict_json.MalformedJson)


def _token(data: bytes) -> None:
    text = data.decode("latin-1")
    peek(text, algorithms=ALGORITHMS)
    AUTHENTICATION.authenticate(ClientAssertion(text), now=NOW)


def _members(data: bytes) -> None:
    """Take the bytes as header and claims, well packed, so that the rules behind the packing are reached."""
    header, _, claims = data.partition(b"\x00")
    packed = ".".join(jose.encode_segment(part) for part in (header, claims, b"signature"))
    AUTHENTICATION.authenticate(ClientAssertion(packed), now=NOW)


def _document(data: bytes) -> None:
    jwks.parse_document(data, rules=KeyRules())


def _scope(data: bytes) -> None:
    read = scopes.parse_set(data.decode("latin-1"))
    assert scopes.parse_set(str(read) or "openid") is not None


def _form(data: bytes) -> None:
    pairs = [tuple(part.partition("=")[::2]) for part in data.decode("latin-1").split("&")]
    token_request.parse(pairs)  # type: ignore[arg-type] # partition()[::2] has two members


TARGETS = (_token, _members, _document, _scope, _form)


def one(data: bytes) -> None:
    """Give the bytes to one reader, chosen by the first of them."""
    if not data:
        return
    try:
        TARGETS[data[0] % len(TARGETS)](data[1:])
    except REFUSALS:
        return


def seeds() -> Iterator[bytes]:
    """Yield inputs to begin with: the known attacks, and one good input for every reader."""
    for token in corpus():
        yield b"\x00" + token.encode()
    header = {"alg": "ES384", "kid": pair("ES384").kid, "typ": "JWT"}
    yield b"\x01" + encode(header) + b"\x00" + encode(assertion_claims())
    yield b"\x02" + encode({"keys": [pair(algorithm).jwk for algorithm in ALGORITHMS]})
    yield b"\x03system/*.read system/Observation.rs?category=laboratory __introspect openid"
    yield b"\x04" + "&".join(f"{name}={value}" for name, value in token_form("a.b.c").items()).encode()


def main(arguments: list[str]) -> None:
    """Run the given number of inputs, 300,000 by default."""
    runs = arguments[0] if arguments else "300000"
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(folder, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], f"-runs={runs}", "-max_len=4096", "-timeout=10", folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
