"""What a process remembers of tokens whose signature it made or checked."""

from pathlib import Path

import pytest

from authserver.adapters.key_files import KeyFiles, open_signer
from authserver.adapters.verified_tokens import VerifiedTokens

TYP = "at+jwt"
CLAIMS = {"iss": "https://auth.example", "aud": ["a", "b"], "exp": 1_300, "jti": "1.é"}


class Told(VerifiedTokens):
    """A memory that tells what was found in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[bool] = []

    def knows(self, token: str, *, typ: str) -> bool:
        known = super().knows(token, typ=typ)
        self.found.append(known)
        return known


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with a key."""
    open_signer(tmp_path / "keys")
    return tmp_path / "keys"


def test_token_that_the_process_signed_needs_no_check_of_its_signature(keys: Path) -> None:
    memory = Told()
    signer = KeyFiles(keys, memory=lambda: memory)
    token = signer.sign(CLAIMS, typ=TYP)

    claims = [signer.verify(token, typ=TYP), signer.verify(token, typ=TYP)]

    assert (claims, memory.found) == ([CLAIMS, CLAIMS], [True, True])


def test_token_of_another_process_is_checked_once(keys: Path) -> None:
    memory = Told()
    signer = KeyFiles(keys, memory=lambda: memory)
    token = KeyFiles(keys).sign(CLAIMS, typ=TYP)

    claims = [signer.verify(token, typ=TYP), signer.verify(token, typ=TYP)]

    assert (claims, memory.found) == ([CLAIMS, CLAIMS], [False, True])


def test_wrong_token_is_not_remembered(keys: Path) -> None:
    memory = Told()
    signer = KeyFiles(keys, memory=lambda: memory)
    wrong = KeyFiles(keys).sign(CLAIMS, typ=TYP)[:-4] + "AAAA"

    claims = [signer.verify(wrong, typ=TYP), signer.verify(wrong, typ=TYP)]

    assert (claims, memory.found) == ([None, None], [False, False])


def test_what_one_caller_does_to_the_claims_no_other_sees(keys: Path) -> None:
    signer = KeyFiles(keys)
    given = dict(CLAIMS)
    token = signer.sign(given, typ=TYP)
    given["jti"] = "another"

    first = signer.verify(token, typ=TYP)
    assert isinstance(first, dict)
    first["jti"] = "another"

    assert signer.verify(token, typ=TYP) == CLAIMS


def test_token_is_known_by_its_typ_too() -> None:
    """A token of one kind is not taken for another (RFC 8725 section 3.11)."""
    memory = VerifiedTokens()

    memory.add("a.b.c", typ=TYP)

    known = [memory.knows("a.b.c", typ=TYP), memory.knows("a.b.c", typ="JWT"), memory.knows("a.b.d", typ=TYP)]
    assert known == [True, False, False]


def test_tokens_not_shown_for_long_are_forgotten() -> None:
    """Of a memory for six the three shown last are known for sure, and what was shown again is among them."""
    memory = VerifiedTokens(size=6)
    for token in ("first", "second", "third", "fourth"):
        memory.add(token, typ=TYP)

    shown_again = memory.knows("first", typ=TYP)
    for token in ("fifth", "sixth"):
        memory.add(token, typ=TYP)

    known = [memory.knows(token, typ=TYP) for token in ("sixth", "fifth", "first", "second", "third")]
    assert (shown_again, known) == (True, [True, True, True, False, False])
