"""A search of the audit: FHIR parameters -> which records; the records that were found, and the page after them.

Source: http://hl7.org/fhir/R4/auditevent.html#search, http://hl7.org/fhir/R4/search.html.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from authserver.errors import BadRequest, NotSupported
from authserver.protocol.audit_event import EVENTS, JTI_URN, Coding

DEFAULT_COUNT, MAX_COUNT = 50, 500
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb)?(\d.*)")
_INSTANT = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?)?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES = ("0", "4", "8", "12")
_MAX_SEQUENCE_DIGITS = 18
_SINGLE = frozenset("_count _sort _cursor _id agent agent:identifier entity entity:identifier policy".split())


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which records: all conditions hold. None is no condition.

    `since` and `before` are in microseconds, the second excluded; `without` are pieces of time that are left out.
    `after` is the number of the last record of the page before: older ones follow; those up to `beyond` are left out.
    `jti` is that of the token that a record is about.
    """

    since: int | None = None
    before: int | None = None
    without: tuple[tuple[int, int], ...] = ()
    events: frozenset[str] | None = None
    outcomes: frozenset[int] | None = None
    agent: str | None = None
    entity: str | None = None
    sequence: int | None = None
    tenant: str | None = None
    after: int | None = None
    beyond: int | None = None
    jti: str | None = None
    count: int = DEFAULT_COUNT


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A stored record: its number and hash, and what it says, as JSON (see audit_record.AuditRecord)."""

    sequence: int
    hash: bytes
    said: Mapping[str, Any]


def parse(pairs: Iterable[tuple[str, str]], *, tenant: str | None = None) -> AuditQuery:
    """Return the search of these decoded query parameters; `tenant` limits it to one tenant's records.

    Raises BadRequest for a value that cannot be meant, NotSupported for a parameter that is not searched by.
    """
    query, seen = AuditQuery(tenant=tenant), set[str]()
    for name, value in pairs:
        if name in seen & _SINGLE:
            raise BadRequest(f"The parameter {name} may be there once.")
        if "\0" in value:
            raise BadRequest("No parameter may have a NUL in it.")  # PostgreSQL has no text with one
        seen.add(name)
        query = _with(query, name, value)
    return query


def _with(query: AuditQuery, name: str, value: str) -> AuditQuery:
    if name == "date":
        return _with_date(query, value)
    if name in ("type", "subtype"):
        return _narrowed(query, frozenset().union(*(_events(name, one) for one in value.split(","))))
    if name == "outcome":
        outcomes = _outcomes(value)
        return replace(query, outcomes=outcomes if query.outcomes is None else query.outcomes & outcomes)
    if name in ("agent", "agent:identifier"):
        return replace(query, agent=value.removeprefix("Client/"))
    if name in ("entity", "entity:identifier"):
        return replace(query, entity=value)
    if name == "policy":
        # R4's parameter for AuditEvent.agent.policy, where IHE BALP names the token; with or without the URN.
        return replace(query, jti=value.removeprefix(JTI_URN))
    if name == "_sort":
        if value != "-date":
            raise NotSupported("Records are sorted by -date.")
        return query
    if name == "_count":
        return replace(query, count=min(max(_number(name, value), 1), MAX_COUNT))
    if name == "_id":
        return replace(query, sequence=_number(name, value))
    if name == "_cursor":
        return replace(query, after=_number(name, value))
    raise NotSupported("There is no such search parameter here.", detail=f"parameter {name[:64]!r}")


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= _MAX_SEQUENCE_DIGITS):
        raise BadRequest(f"The parameter {name} must be a number.")
    return int(value)


def _narrowed(query: AuditQuery, events: frozenset[str]) -> AuditQuery:
    return replace(query, events=events if query.events is None else query.events & events)


def _events(name: str, token: str) -> frozenset[str]:
    """Return the events with this type or subtype: `code`, `system|code` or `system|`."""
    system, bar, code = token.rpartition("|")

    def fits(coding: Coding) -> bool:
        return (not code or coding.code == code) and (not bar or coding.system == system)

    return frozenset(event for event, seen in EVENTS.items() if fits(seen.type if name == "type" else seen.subtype))


def _outcomes(value: str) -> frozenset[int]:
    codes = value.split(",")
    if not set(codes) <= set(_OUTCOMES):
        raise BadRequest("The parameter outcome must be 0, 4, 8 or 12.")
    return frozenset(map(int, codes))


def _with_date(query: AuditQuery, value: str) -> AuditQuery:
    match = _PREFIXED.fullmatch(value)
    start, end = date_range(match[2] if match else "")
    prefix = (match and match[1]) or "eq"
    if prefix == "ne":
        return replace(query, without=(*query.without, (start, end)))
    since = {"eq": start, "ge": start, "gt": end, "sa": end}.get(prefix)
    before = {"eq": end, "le": end, "lt": start, "eb": start}.get(prefix)
    return replace(query, since=_latest(query.since, since), before=_earliest(query.before, before))


def _latest(one: int | None, other: int | None) -> int | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _earliest(one: int | None, other: int | None) -> int | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def date_range(text: str) -> tuple[int, int]:
    """Return the moments (microseconds, end excluded) that a FHIR date of any precision means; raises BadRequest.

    Where the text has no time zone, UTC is meant (http://hl7.org/fhir/R4/search.html#date).
    """
    match = _INSTANT.fullmatch(text.replace(" ", "+"))
    if match is None:
        raise BadRequest("The parameter date must be a date, with or without a prefix.")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        padded = f"{year}-{month or '01'}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
        start = datetime.fromisoformat(f"{padded}{fraction or ''}{zone or 'Z'}")
        return _microseconds(start), _microseconds(_end(start, match.groups()))
    except (ValueError, OverflowError) as error:
        raise BadRequest("The parameter date must be a date that exists.") from error


def _end(start: datetime, parts: tuple[str | None, ...]) -> datetime:
    _, month, day, hour, _, second, fraction, _ = parts
    if month is None:
        return start.replace(year=start.year + 1)
    if day is None:
        return (start + timedelta(days=31)).replace(day=1)
    if hour is None:
        return start + timedelta(days=1)
    if second is None:
        return start + timedelta(minutes=1)
    return start + (timedelta(seconds=1) if fraction is None else timedelta(microseconds=10 ** (7 - len(fraction))))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
