"""FHIR dates as ranges of microseconds: of searches in the FHIR layer and in the registry (row X14)."""

import pytest

from authserver.protocol.instants import date_range, instant

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1970", (0, 365 * _DAY)),
        ("1970-12", (334 * _DAY, 365 * _DAY)),
        ("1970-02", (31 * _DAY, 59 * _DAY)),
        ("1970-01-02", (_DAY, 2 * _DAY)),
        ("1970-01-01T00:01", (60 * _SECOND, 120 * _SECOND)),
        ("1970-01-01T00:00:01", (_SECOND, 2 * _SECOND)),
        ("1970-01-01T00:00:01Z", (_SECOND, 2 * _SECOND)),
        ("1970-01-01T01:00:00+01:00", (0, _SECOND)),
        ("1970-01-01T01:00:00 01:00", (0, _SECOND)),
        ("1969-12-31T23:00:00-01:00", (0, _SECOND)),
        ("1970-01-01T14:00:00+14:00", (0, _SECOND)),
        ("2024-02-29T12:00Z", (1_709_208_000 * _SECOND, 1_709_208_060 * _SECOND)),
        ("1970-01-01T00:00:00.5Z", (500_000, 600_000)),
        ("1970-01-01T00:00:00.000001Z", (1, 2)),
        ("1970-01-01T00:00:00.0000019Z", (1, 2)),
        ("1970-01-01T00:00:60Z", (60 * _SECOND, 61 * _SECOND)),
        ("9999", (253370764800 * _SECOND, 253402300800 * _SECOND)),
    ],
)
def test_each_precision_is_a_range(text: str, span: tuple[int, int]) -> None:
    assert date_range(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "70",
        "1970-13",
        "1970-02-30",
        "2023-02-29",
        "1970-1-1",
        "1970-01-01T24:00",
        "1970-01-01T12Z",
        "1970-01-01T12:00.5Z",
        "1970-01-01T12:00:61Z",
        "1970-01-01T12:00:00.1234567890Z",
        "1970-01-01T12:00:00+15:00",
        "1970-01-01T12:00:00+01:60",
        "0000",
        "1970-01-01T",
        "١٩٧٠",
        "1970-01-01Z",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert date_range(text) is None


def test_an_instant_is_written_with_microseconds() -> None:
    assert instant(1_724_946_665_117_806) == "2024-08-29T15:51:05.117806Z"
    assert instant(0) == "1970-01-01T00:00:00.000000Z"


def test_the_last_year_has_an_end() -> None:
    first, last = date_range("9999-01-01"), date_range("9999-12-31")

    assert first is not None
    assert last is not None
    assert date_range("9999") == (first[0], last[1])
