"""Dates and instants of a query as ranges of microseconds since the epoch (http://hl7.org/fhir/R4/search.html#date)."""

import re
from datetime import UTC, datetime, timedelta

_SECOND = 1_000_000
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A "+" in a query string may arrive as a blank; no legal instant has a blank there.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?(?:\.(\d{1,6}))?(Z|[+ -]\d\d:\d\d)?", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)

Range = tuple[int, int]


def moments(text: str) -> Range | None:
    """Return (start, end) of a date or instant of any precision, end excluded; None if it is none.

    Without a time zone UTC is meant.
    """
    try:
        return _of_time(text) if "T" in text else _of_date(text)
    except (ValueError, OverflowError):
        return None


def _of_time(text: str) -> Range | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    minute, second, fraction, zone = match.groups()
    zone = (zone or "Z").replace(" ", "+").replace("Z", "+00:00")
    start = _microseconds(datetime.fromisoformat(f"{minute}{second or ':00'}{zone}"))
    if second is None:
        return (start, start + 60 * _SECOND) if fraction is None else None
    start += int((fraction or "0").ljust(6, "0"))
    return start, start + (_SECOND if fraction is None else 10 ** (6 - len(fraction)))


def _of_date(text: str) -> Range | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = match.groups()
    first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
    if day is not None:
        last = first
    elif month is not None:
        last = (first + 31 * _DAY).replace(day=1) - _DAY
    else:
        last = first.replace(month=12, day=31)
    return _microseconds(first), _microseconds(last) + 86_400 * _SECOND


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
