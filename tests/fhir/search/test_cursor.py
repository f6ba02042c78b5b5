"""Paging cursors (threat H09)."""

import dataclasses

import pytest

from authserver.fhir.search.cursor import CursorBinding, seal, unseal
from authserver.fhir.search.problems import MalformedParameter

SECRET = b"s" * 32
BINDING = CursorBinding("client", "tenant", "Observation", (("code", "a"), ("_count", "2")))


def test_a_sealed_position_comes_back() -> None:
    assert unseal(seal((123_456,), BINDING, secret=SECRET), BINDING, secret=SECRET) == (123_456,)


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "other"},
        {"tenant": "other"},
        {"resource_type": "Patient"},
        {"pairs": (("code", "b"), ("_count", "2"))},
        {"pairs": (("_count", "2"), ("code", "a"))},
        {"pairs": (("code", "a"),)},
        {"client_id": "clientt", "tenant": "enant"},
    ],
)
def test_a_cursor_of_another_request_is_refused(change: dict[str, object]) -> None:
    cursor = seal((7,), BINDING, secret=SECRET)

    with pytest.raises(MalformedParameter):
        unseal(cursor, dataclasses.replace(BINDING, **change), secret=SECRET)  # type: ignore[arg-type]


def test_the_values_that_a_result_is_sorted_by_come_back() -> None:
    position = ("Élodie", None, 6.1, -2, 7)

    assert unseal(seal(position, BINDING, secret=SECRET), BINDING, secret=SECRET) == position


def test_a_cursor_says_nothing_by_its_length() -> None:
    """Threat H09: a longer number would tell of other tenants' volumes."""
    assert len(seal((7,), BINDING, secret=SECRET)) == len(seal((70_000_000,), BINDING, secret=SECRET))


def test_every_changed_character_is_noticed() -> None:
    cursor = seal((7,), BINDING, secret=SECRET)

    for position in range(len(cursor)):
        other = "A" if cursor[position] != "A" else "B"
        with pytest.raises(MalformedParameter):
            unseal(cursor[:position] + other + cursor[position + 1 :], BINDING, secret=SECRET)


@pytest.mark.parametrize(
    "text", ["", "7", "A" * 33, "A" * 35, "A" * 37, "=" * 36, "é" * 36, "!" * 36, "A" * 36, "A" * 8_001]
)
def test_what_was_never_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(MalformedParameter):
        unseal(text, BINDING, secret=SECRET)


def test_a_cursor_of_another_store_is_refused() -> None:
    with pytest.raises(MalformedParameter):
        unseal(seal((7,), BINDING, secret=b"t" * 32), BINDING, secret=SECRET)


def test_the_position_does_not_show() -> None:
    """Neighbouring positions give unrelated cursors: they would tell of other tenants' volumes."""
    first, second = seal((7,), BINDING, secret=SECRET), seal((8,), BINDING, secret=SECRET)

    assert sum(a != b for a, b in zip(first, second, strict=True)) > 16
