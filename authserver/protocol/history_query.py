"""The parameters of a history: `_count`, `_since`, and `_page` or a cursor that says after which version. PURE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authserver.protocol.instants import date_range
from authserver.protocol.registry_search import Page, WrongParameter, page

_KNOWN = ("_count", "_page", "_since", "_cursor")
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page before ended: its last version's moment (microseconds), number and id."""

    last_updated: int
    version_id: int
    id: str

    def __str__(self) -> str:
        return f"{self.last_updated}.{self.version_id}.{self.id}"


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which part of a history. `since` in microseconds; with `after` the page's number says nothing."""

    page: Page
    paged: bool
    since: int | None
    after: Place | None
    pairs: tuple[tuple[str, str], ...]
    """The parameters for a link, without those that say which page."""


def parse(pairs: Sequence[tuple[str, str]]) -> HistoryQuery:
    """Read the parameters; raises WrongParameter for one that is unknown, twice there, or not understood."""
    given = dict(pairs)
    for name, value in pairs:
        if name not in _KNOWN or len(given) != len(pairs) or not 0 < len(value) <= _LONGEST or "\0" in value:
            raise WrongParameter(name, f"Known are {', '.join(_KNOWN)}, each once and not empty.")
    if "_page" in given and "_cursor" in given:
        raise WrongParameter("_cursor", "Either _page or _cursor, not both.")
    wanted = page(given)
    if wanted.count == 0:
        raise WrongParameter("_count", "Must be a whole number from 1 on.")
    links = tuple((name, value) for name, value in pairs if name in ("_count", "_since"))
    return HistoryQuery(wanted, "_page" in given, _since(given), _cursor(given), links)


def _since(given: Mapping[str, str]) -> int | None:
    if "_since" not in given:
        return None
    bounds = date_range(given["_since"])
    if bounds is None:
        raise WrongParameter("_since", "Must be a date or an instant.")
    return bounds[0]


def _cursor(given: Mapping[str, str]) -> Place | None:
    if "_cursor" not in given:
        return None
    moment, _, rest = given["_cursor"].partition(".")
    version, _, resource_id = rest.partition(".")
    numbers = [text for text in (moment, version) if text.isascii() and text.isdecimal() and len(text) <= 18]
    if len(numbers) < 2 or not resource_id:
        raise WrongParameter("_cursor", "Must be the cursor of a next link.")
    return Place(int(moment), int(version), resource_id)
