"""Say for how long a fetched key set may be used, by the headers of its owner. Knows HTTP caching; no clock.

SMART forbids to cache a key set for longer than the owner's Cache-Control says, so every doubt shortens.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DEFAULT_SECONDS = 60
LONGEST_SECONDS = 3_600

# Reasons of JwksUnavailable that say nothing about the owner's host: this server was too busy to ask.
OWN_LIMITS = frozenset({"jwks_fetch_busy", "jwks_dns_busy"})

# RFC 9111 section 5.2: a token, alone or with an argument that is a token or a quoted string.
_DIRECTIVE = re.compile(r"[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:([^\s\",;=]+)|\"([^\"\\]*)\"))?)?[ \t]*(?:,|$)")
_SECONDS = re.compile(r"[0-9]+", re.ASCII)
_ENOUGH = 2**31  # RFC 9111 section 1.2.2: what a number too large to represent means


@dataclass(frozen=True, slots=True)
class FetchedJwks:
    """What a key set's owner answered: status 200 with the document, or 304 to a conditional request.

    The headers are as received, None when absent; `etag` and `last_modified` also when not fit to be sent back.
    """

    status: int
    body: bytes = b""
    cache_control: str | None = None
    age: str | None = None
    expires: str | None = None
    date: str | None = None
    etag: str | None = None
    last_modified: str | None = None


def fresh_for(
    cache_control: str | None,
    age: str | None = None,
    *,
    expires: str | None = None,
    date: str | None = None,
    now: int,
    default: int = DEFAULT_SECONDS,
    cap: int = LONGEST_SECONDS,
) -> int:
    """Return for how many seconds after the request the key set may be used without asking again; 0 is never.

    RFC 9111 section 4.2.1: the smaller of `max-age` and `s-maxage`, else Expires minus Date (`now`, epoch
    seconds, when there is no Date), else `default`; minus Age, at most `cap`. `no-store`, `no-cache` and
    anything that cannot be read make it 0.
    """
    directives = _directives(cache_control)
    if directives is None or directives.keys() & {"no-store", "no-cache"}:
        return 0
    limits = [limit for name in ("max-age", "s-maxage") for limit in directives.get(name, [])]
    if limits:
        lifetime = min(_seconds(limit) for limit in limits)
    elif expires is not None:
        lifetime = _until(expires, date, now)
    else:
        lifetime = default
    spent = 0 if age is None else _seconds(age, unreadable=_ENOUGH)
    return max(0, min(lifetime - spent, cap))


def renewed(kept: FetchedJwks, answer: FetchedJwks) -> FetchedJwks:
    """Return the kept answer with the headers that a 304 brought (RFC 9111 section 4.3.4)."""
    return replace(
        kept,
        cache_control=kept.cache_control if answer.cache_control is None else answer.cache_control,
        expires=kept.expires if answer.expires is None else answer.expires,
        age=answer.age,
        date=answer.date,
        etag=answer.etag or kept.etag,
        last_modified=answer.last_modified or kept.last_modified,
    )


def to_keep(answer: FetchedJwks) -> FetchedJwks:
    """Return the answer without its document, and with nothing else either when it may not be kept."""
    if may_be_kept(answer.cache_control):
        return replace(answer, status=200, body=b"")
    return FetchedJwks(status=200)


def may_be_kept(cache_control: str | None) -> bool:
    """Say whether the answer may be kept to ask again conditionally (RFC 9111 section 5.2.2.5, no-store)."""
    directives = _directives(cache_control)
    return directives is not None and "no-store" not in directives


def _directives(cache_control: str | None) -> dict[str, list[str]] | None:
    """Return every directive's arguments by its lower-case name ("" for none), or None for a malformed header."""
    found: dict[str, list[str]] = {}
    position, text = 0, cache_control or ""
    while position < len(text):
        match = _DIRECTIVE.match(text, position)
        if match is None:
            return None
        position = match.end()
        if match[1]:
            found.setdefault(match[1].lower(), []).append(match[2] or match[3] or "")
    return found


def _seconds(text: str, *, unreadable: int = 0) -> int:
    """Return delta-seconds (RFC 9111 section 1.2.2)."""
    if _SECONDS.fullmatch(text.strip()) is None:
        return unreadable
    digits = text.strip().lstrip("0")
    return _ENOUGH if len(digits) > 10 else min(int(digits or "0"), _ENOUGH)


def _until(expires: str, date: str | None, now: int) -> int:
    """Return the seconds from Date to Expires; an unreadable date means expired (RFC 9111 section 5.3)."""
    end = _epoch(expires)
    start = now if date is None else _epoch(date)
    return 0 if end is None or start is None else end - start


def _epoch(text: str) -> int | None:
    try:
        found: datetime = parsedate_to_datetime(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
