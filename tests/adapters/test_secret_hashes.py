"""Client secrets: hashed with Argon2id, checked in full once, and remembered only when right."""

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type

from authserver.adapters.secret_hashes import Argon2Hasher

SECRET = "correct horse battery staple"


class CountingHasher:
    """A fast stand-in that counts how often the slow work would have been done."""

    def __init__(self) -> None:
        self.hashed = 0
        self.verified: list[tuple[bytes, str]] = []

    def hash(self, secret: bytes) -> str:
        self.hashed += 1
        return f"salt-{self.hashed}:{secret.hex()}"

    def verify(self, secret: bytes, secret_hash: str) -> bool:
        self.verified.append((secret, secret_hash))
        return secret_hash.partition(":")[2] == secret.hex()


@pytest.fixture(scope="module")
def argon2() -> Argon2Hasher:
    return Argon2Hasher()


@pytest.fixture
def slow() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def hasher(slow: CountingHasher) -> Argon2Hasher:
    return Argon2Hasher(hasher=slow)


# The real hash


def test_right_secret_fits_and_a_wrong_one_does_not(argon2: Argon2Hasher) -> None:
    secret_hash = argon2.hash(SECRET)

    answers = [argon2.verify(secret, secret_hash) for secret in (SECRET, SECRET, "wrong", "", SECRET + "\x00")]

    assert answers == [True, True, False, False, False]


def test_hash_is_argon2id_with_the_recommended_cost(argon2: Argon2Hasher) -> None:
    """OWASP password storage cheat sheet: argon2id, 19 MiB, 2 passes, 1 lane."""
    found = extract_parameters(argon2.hash(SECRET))

    assert (found.type, found.memory_cost, found.time_cost, found.parallelism) == (Type.ID, 19 * 1024, 2, 1)


def test_hash_is_salted_and_does_not_show_the_secret(argon2: Argon2Hasher) -> None:
    """Threat G16."""
    first, second = argon2.hash(SECRET), argon2.hash(SECRET)

    assert first != second
    assert SECRET not in first


@pytest.mark.parametrize("secret_hash", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$x$y", "$2b$12$abc", "é"])
def test_hash_that_cannot_be_read_fits_nothing(argon2: Argon2Hasher, secret_hash: str) -> None:
    assert argon2.verify(SECRET, secret_hash) is False


@pytest.mark.parametrize("secret", ["", "\x00", "\ud800", "日本", "x" * 10_000])
def test_any_text_is_a_secret(argon2: Argon2Hasher, secret: str) -> None:
    secret_hash = argon2.hash(secret)

    assert (argon2.verify(secret, secret_hash), argon2.verify(secret + "x", secret_hash)) == (True, False)


def test_real_hasher_refuses_a_client_without_a_hash(argon2: Argon2Hasher) -> None:
    assert argon2.verify(SECRET, None) is False


# What is remembered


def test_client_without_a_hash_costs_a_verification_each_time(hasher: Argon2Hasher, slow: CountingHasher) -> None:
    """The time of the answer does not tell whether the client has a secret, or exists."""
    answers = [hasher.verify(SECRET, None) for _ in range(2)]

    assert answers == [False, False]
    assert [secret for secret, _ in slow.verified] == [SECRET.encode()] * 2


def test_client_without_a_hash_costs_what_a_real_hash_costs(
    hasher: Argon2Hasher, slow: CountingHasher, argon2: Argon2Hasher
) -> None:
    """The hash of nobody is drawn, not computed: all that decides on the time is as in a real one."""
    hasher.verify(SECRET, None)

    found = extract_parameters(slow.verified[0][1])
    assert (slow.hashed, found) == (0, extract_parameters(argon2.hash(SECRET)))


def test_hash_of_nobody_is_computed_in_full(hasher: Argon2Hasher, slow: CountingHasher) -> None:
    """A hash that the library could not read would be refused at once."""
    hasher.verify(SECRET, None)

    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(slow.verified[0][1], SECRET)


def test_right_secret_is_verified_once(hasher: Argon2Hasher, slow: CountingHasher) -> None:
    secret_hash = hasher.hash(SECRET)

    answers = [hasher.verify(SECRET, secret_hash) for _ in range(3)]

    assert (answers, slow.verified) == ([True] * 3, [(SECRET.encode(), secret_hash)])


def test_wrong_secret_is_verified_each_time(hasher: Argon2Hasher, slow: CountingHasher) -> None:
    secret_hash = hasher.hash(SECRET)
    hasher.verify(SECRET, secret_hash)

    answers = [hasher.verify("wrong", secret_hash) for _ in range(2)]

    assert (answers, len(slow.verified)) == ([False, False], 3)


def test_changed_hash_never_matches_what_is_remembered(hasher: Argon2Hasher, slow: CountingHasher) -> None:
    """A rotated secret is refused at the very next request; a new hash of the same secret is verified anew."""
    former, renewed, rotated = hasher.hash(SECRET), hasher.hash(SECRET), hasher.hash("another")
    hasher.verify(SECRET, former)

    answers = [hasher.verify(SECRET, secret_hash) for secret_hash in (renewed, rotated)]

    assert (answers, len(slow.verified)) == ([True, False], 3)


def test_boundary_between_hash_and_secret_is_unambiguous(slow: CountingHasher) -> None:
    class Agreeable(CountingHasher):
        def verify(self, secret: bytes, secret_hash: str) -> bool:
            super().verify(secret, secret_hash)
            return True

    slow = Agreeable()
    hasher = Argon2Hasher(hasher=slow)

    for secret, secret_hash in [("bc", "a"), ("c", "ab"), ("", "abc"), ("abc", "")]:
        hasher.verify(secret, secret_hash)

    assert len(slow.verified) == 4


def test_memory_is_bounded_and_forgets_what_was_not_used_for_longest(slow: CountingHasher) -> None:
    hasher = Argon2Hasher(hasher=slow, remembered=2)
    hashes = {secret: hasher.hash(secret) for secret in ("a", "b", "c")}

    for secret in ("a", "b", "a", "c", "a", "b"):
        hasher.verify(secret, hashes[secret])

    assert [secret for secret, _ in slow.verified] == [b"a", b"b", b"c", b"b"]


def test_processes_do_not_share_what_they_remember(slow: CountingHasher) -> None:
    """Each has a random key of its own, so nothing that leaks from one is of use elsewhere."""
    first, second = Argon2Hasher(hasher=slow), Argon2Hasher(hasher=slow)
    secret_hash = first.hash(SECRET)

    answers = [hasher.verify(SECRET, secret_hash) for hasher in (first, second)]

    assert (answers, len(slow.verified)) == ([True, True], 2)
