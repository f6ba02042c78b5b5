"""Which requests come again byte by byte, and how many are known."""

import pytest

from authserver.cli.repeats import MAX_BYTES, Repeats, is_whole
from authserver.protocol.render import Answer

HEAD = b"POST /auth/introspect HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "body", "expected"),
    [
        (HEAD + b"token=t", b"token=t", True),
        (HEAD, b"", True),
        (HEAD + b"token=t\r\n\r\n", b"token=t\r\n\r\n", True),
        (HEAD + b"token=tPOST", b"token=t", False),
        (HEAD + b"token=t" + HEAD, b"token=t", False),
        (HEAD + b"token=", b"token=t", False),
        (HEAD + b"7\r\ntoken=t\r\n0\r\n\r\n", b"token=t", False),
        (b"token=t", b"token=t", False),
        (HEAD + b"x" * (MAX_BYTES - len(HEAD)), b"x" * (MAX_BYTES - len(HEAD)), True),
        (HEAD + b"x" * (MAX_BYTES - len(HEAD) + 1), b"x" * (MAX_BYTES - len(HEAD) + 1), False),
    ],
)
def test_whole_is_a_head_with_its_body_and_nothing_else(data: bytes, body: bytes, expected: bool) -> None:
    assert is_whole(data, body=body) is expected


def test_an_answer_is_asked_for_each_time_and_forgotten_when_it_holds_no_more() -> None:
    answers = [Answer(200), Answer(201), None, Answer(202)]
    repeats = Repeats()
    repeats.keep(b"same", lambda: answers.pop(0))

    said = [repeats.answer(b"same"), repeats.answer(b"other"), *(repeats.answer(b"same") for _ in range(3))]

    assert [one and one.status for one in said] == [200, None, 201, None, None]
    assert answers == [Answer(202)]


def test_the_request_not_sent_for_longest_is_forgotten_first() -> None:
    repeats = Repeats(size=2)
    for data in (b"1", b"2"):
        repeats.keep(data, lambda: Answer(200))
    repeats.answer(b"1")
    repeats.keep(b"3", lambda: Answer(200))

    assert [repeats.answer(data) is not None for data in (b"1", b"2", b"3")] == [True, False, True]


def test_ways_to_begin_are_remembered_up_to_a_number() -> None:
    """What begins in yet another way is read each time."""
    requests = [f"POST /auth/introspec?{number:02}".encode() for number in range(40)]
    repeats = Repeats()
    for data in (b"1" * 20 + b"x", b"1" * 20 + b"y", *(b"%020d" % number for number in range(20)), *requests):
        repeats.keep(data, lambda: Answer(200))

    known = [repeats.answer(data) is not None for data in (b"1" * 20 + b"x", b"1" * 20 + b"y", b"%020d" % 14)]
    unknown = [repeats.answer(data) for data in (b"%020d" % 15, requests[0])]

    assert (known, unknown) == ([True] * 3, [None, None])


def test_no_request_is_kept_as_it_is() -> None:
    """What would be a credential in a dump of the process is kept as a keyed hash."""
    one, other = Repeats(), Repeats()
    for repeats in (one, other):
        repeats.keep(b"Authorization: Basic c2VjcmV0", lambda: Answer(200))

    assert one._known.keys().isdisjoint(other._known)
    assert {len(name) for name in (*one._known, *other._known)} == {16}
