"""Dates of queries as ranges. Row X14."""

import pytest

from authserver.protocol.instants import moments

SECOND = 10**6
DAY = 86_400 * SECOND
NOON = 1_709_208_000 * SECOND  # 2024-02-29T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", (1_704_067_200 * SECOND, 1_735_689_600 * SECOND)),
        ("2024-02", (1_706_745_600 * SECOND, 1_709_251_200 * SECOND)),
        ("2024-02-29", (NOON - DAY // 2, NOON + DAY // 2)),
        ("2024-02-29T12:00", (NOON, NOON + 60 * SECOND)),
        ("2024-02-29T12:00Z", (NOON, NOON + 60 * SECOND)),
        ("2024-02-29T12:00:00Z", (NOON, NOON + SECOND)),
        ("2024-02-29T13:00:00+01:00", (NOON, NOON + SECOND)),
        ("2024-02-29T13:00:00 01:00", (NOON, NOON + SECOND)),
        ("2024-02-29T12:00:00.5Z", (NOON + 500_000, NOON + 600_000)),
        ("2024-02-29T12:00:00.000001Z", (NOON + 1, NOON + 2)),
    ],
)
def test_a_moment_is_as_long_as_its_precision(text: str, expected: tuple[int, int]) -> None:
    assert moments(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2023-02-29",
        "2024-13",
        "24",
        "2024-02-29T25:00Z",
        "2024-02-29T12Z",
        "2024-02-29T12:00.5Z",
        "0000",
        "2024-02-29T12:00:00.1234567Z",
        "9999-12-31T23:59:61Z",
        "2024-2-1",
        "٢٠٢٤",
    ],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert moments(text) is None


def test_the_last_year_has_an_end() -> None:
    assert moments("9999") == moments("9999-01-01")[:1] + moments("9999-12-31")[1:]  # type: ignore[index]
