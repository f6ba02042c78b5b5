"""FHIR dates as ranges of microseconds since the epoch, UTC, and back. Knows text and numbers only."""

import re
from datetime import UTC, date, datetime

EARLIEST, LATEST = -(2**62), 2**62

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_EPOCH = date(1970, 1, 1).toordinal()
# A "+" in a query string may arrive as a space; no legal date has a space there.
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:(Z)|([+ -])(\d\d):(\d\d))?)?)?)?",
    re.ASCII,
)

Range = tuple[int, int]


def date_range(text: str) -> Range | None:
    """Return (start, end) in microseconds, end excluded, of a date of any precision; None if it is none.

    Where the text has no time zone, UTC is meant (http://hl7.org/fhir/R4/search.html#date).
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, ahead, ahead_minutes = match.groups()
    try:
        if hour is None:
            return _days(int(year), month, day)
        start = _day(int(year), int(month), int(day)) + _clock(int(hour), int(minute), int(second or 0))
        start -= _ahead(sign, int(ahead), int(ahead_minutes)) if sign else 0
    except ValueError:
        return None
    if second is None:
        return start, start + 60 * _SECOND
    if fraction is None:
        return start, start + _SECOND
    start += int(fraction.ljust(6, "0")[:6])
    return start, start + 10 ** max(6 - len(fraction), 0)


def instant(microseconds: int) -> str:
    """Return the instant with six decimals and `Z`, as in `2024-08-29T15:51:05.117806Z`."""
    seconds, fraction = divmod(microseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


def _days(year: int, month: str | None, day: str | None) -> Range:
    if month is None:
        return _day(year, 1, 1), _month_end(year, 12)
    if day is None:
        return _day(year, int(month), 1), _month_end(year, int(month))
    start = _day(year, int(month), int(day))
    return start, start + _DAY


def _month_end(year: int, month: int) -> int:
    if (year, month) == (9999, 12):
        return _day(9999, 12, 31) + _DAY
    return _day(year + month // 12, month % 12 + 1, 1)


def _day(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH) * _DAY


def _ahead(sign: str, hours: int, minutes: int) -> int:
    if hours > 14 or minutes > 59:  # http://hl7.org/fhir/R4/datatypes.html#dateTime
        raise ValueError
    return (hours * 60 + minutes) * 60 * _SECOND * (-1 if sign == "-" else 1)


def _clock(hour: int, minute: int, second: int) -> int:
    if hour > 23 or minute > 59 or second > 60:  # FHIR allows the leap second
        raise ValueError
    return ((hour * 60 + minute) * 60 + second) * _SECOND
