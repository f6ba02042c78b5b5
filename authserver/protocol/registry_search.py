"""Searches of Clients and AccessPolicies: query parameters -> what matches, in which order, which page. PURE.

A parameter that is not known is refused: passed over, it would widen what the caller sees or changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from authserver.errors import BadRequest, Issue
from authserver.protocol.instants import Range, date_range

MAX_COUNT, DEFAULT_COUNT = 1_000, 100
_RESULT = ("_sort", "_count", "_page", "_total")
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
_LONGEST_VALUE = 1_024

Pairs = Sequence[tuple[str, str]]


class Searchable(Protocol):
    """What a search looks at."""

    @property
    def id(self) -> str:
        """The id."""

    @property
    def last_updated(self) -> int:
        """The moment of the current version, microseconds since the epoch."""

    @property
    def body(self) -> Mapping[str, Any]:
        """The resource as its owner wrote it."""


S = TypeVar("S", bound=Searchable)
Test = Callable[[Searchable], bool]
Key = Callable[[Searchable], tuple[int, Any]]


class WrongParameter(BadRequest):
    """A parameter is unknown here, or its value cannot be understood. The value is not repeated."""

    def __init__(self, name: str, public: str) -> None:
        self.name = name[:64]
        super().__init__(public, detail=f"parameter {self.name!r}")

    def issues(self) -> tuple[Issue, ...]:
        """Return one issue that names the parameter."""
        return (Issue(self.name if self.name.isprintable() else "", self.public, self.issue_code),)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: `count` entries (0: none) of the `number`th page, counted from 1."""

    count: int = DEFAULT_COUNT
    number: int = 1

    @property
    def offset(self) -> int:
        """How many entries come before."""
        return self.count * (self.number - 1)


@dataclass(frozen=True, slots=True)
class RegistrySearch:
    """A search as its parameters mean it. `pairs` are the parameters for a link, without the page."""

    tests: tuple[Test, ...]
    order: tuple[tuple[Key, bool], ...]
    page: Page
    total: bool
    pairs: tuple[tuple[str, str], ...]
    ids: frozenset[str] | None

    def matching(self, candidates: Iterable[S]) -> list[S]:
        """Return what matches, in order: by `_sort`, then by id."""
        found = [one for one in candidates if all(test(one) for test in self.tests)]
        found.sort(key=lambda one: one.id)
        for key, descending in reversed(self.order):
            found.sort(key=key, reverse=descending)
        return found

    def on_page(self, found: Sequence[S]) -> Sequence[S]:
        """Return the entries of the page."""
        return found[self.page.offset : self.page.offset + self.page.count]


def parse(resource_type: str, pairs: Pairs) -> RegistrySearch:
    """Read a search of the type; raises WrongParameter. A parameter given twice must match twice."""
    known, tests, ids = _CRITERIA[resource_type], [], None
    result = {name: value for name, value in pairs if name in _RESULT}
    for name, value in pairs:
        if name not in known and name not in _RESULT:
            raise WrongParameter(name, f"Unknown parameter; known: {', '.join((*known, *_RESULT))}.")
        if len(value) > _LONGEST_VALUE or not value or "\0" in value:  # PostgreSQL has no text with a NUL in it
            raise WrongParameter(name, "The value is empty, too long, or has a NUL in it.")
        if name in _RESULT:
            _once(name, pairs)
            continue
        tests.append(known[name](name, value))
        if name == "_id":
            ids = frozenset(value.split(",")) if ids is None else ids & frozenset(value.split(","))
    return RegistrySearch(
        tests=tuple(tests),
        order=_order(resource_type, result.get("_sort", "_id")),
        page=page(result),
        total=_total(result.get("_total", "accurate")),
        pairs=tuple((name, value) for name, value in pairs if name != "_page"),
        ids=ids,
    )


def criteria(resource_type: str, pairs: Pairs) -> RegistrySearch:
    """Read the criteria of a conditional change: at least one, and nothing about the result. Raises WrongParameter."""
    for name, _ in pairs:
        if name in _RESULT:
            raise WrongParameter(name, "A conditional change takes criteria only.")
    if not pairs:
        raise BadRequest("Name the resource by its id in the path, or by criteria such as ?_id=x.")
    return parse(resource_type, pairs)


def page(result: Mapping[str, str]) -> Page:
    """Read `_count` and `_page`; raises WrongParameter."""
    count = _number("_count", result.get("_count", str(DEFAULT_COUNT)), least=0)
    return Page(min(count, MAX_COUNT), _number("_page", result.get("_page", "1"), least=1))


def _number(name: str, text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= least):
        raise WrongParameter(name, f"Must be a whole number from {least} on.")
    return int(text)


def _once(name: str, pairs: Pairs) -> None:
    if [given for given, _ in pairs].count(name) > 1:
        raise WrongParameter(name, "Must be given once.")


def _total(value: str) -> bool:
    if value not in ("none", "estimate", "accurate"):
        raise WrongParameter("_total", "Must be none, estimate or accurate.")
    return value != "none"


def _order(resource_type: str, text: str) -> tuple[tuple[Key, bool], ...]:
    order = []
    for name in text.split(","):
        key = _SORT_KEYS[resource_type].get(name.removeprefix("-"))
        if key is None:
            raise WrongParameter(
                "_sort", f"Must be of {', '.join(_SORT_KEYS[resource_type])}, a minus before it or not."
            )
        order.append((key, name.startswith("-")))
    return tuple(order)


def _ids(_name: str, value: str) -> Test:
    wanted = frozenset(value.split(","))
    return lambda one: one.id in wanted


def _active(name: str, value: str) -> Test:
    if value not in ("true", "false"):
        raise WrongParameter(name, "Must be true or false.")
    # A client without the member is usable, so it is active.
    return lambda one: (one.body.get("active") is not False) == (value == "true")


def _words(name: str, value: str) -> Test:
    """Match a member that is one of these texts, or a list that has one."""
    wanted = frozenset(value.split(","))

    def matches(one: Searchable) -> bool:
        member = one.body.get(name)
        return any(word in wanted for word in (member if isinstance(member, list) else [member]) if _is_text(word))

    return matches


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _link(_name: str, value: str) -> Test:
    wanted = frozenset(text if "/" in text else f"Client/{text}" for text in value.split(","))
    return lambda one: any(reference(link) in wanted for link in one.body.get("link", ()))


def reference(link: Mapping[str, Any]) -> str:
    """Return a link in one form: `{id, resourceType}` and `{reference}` are equal (row X20)."""
    return str(link.get("reference") or f"{link.get('resourceType')}/{link.get('id')}")


def _last_updated(name: str, value: str) -> Test:
    tests = [_moment(name, text) for text in value.split(",")]
    return lambda one: any(test(one.last_updated) for test in tests)


def _moment(name: str, text: str) -> Callable[[int], bool]:
    prefix = text[:2] if text[:2] in _PREFIXES else "eq"
    bounds = date_range(text[2:] if text[:2] in _PREFIXES else text)
    if bounds is None:
        raise WrongParameter(name, f"Must be a date or an instant, after one of {', '.join(_PREFIXES)} or none.")
    return lambda moment: _compare(prefix, moment, bounds)


def _compare(prefix: str, moment: int, bounds: Range) -> bool:
    start, end = bounds
    return {
        "eq": start <= moment < end,
        "ne": not start <= moment < end,
        "gt": moment >= end,
        "sa": moment >= end,
        "ge": moment >= start,
        "lt": moment < start,
        "eb": moment < start,
        "le": moment < end,
    }[prefix]


def _text_key(name: str) -> Key:
    """Sort by a member that is a text; what has none comes last."""
    return lambda one: (0, text) if isinstance(text := one.body.get(name), str) else (1, "")


_EVERY_TYPE = {"_id": _ids, "_lastUpdated": _last_updated}
_CRITERIA: Mapping[str, Mapping[str, Callable[[str, str], Test]]] = {
    "Client": {**_EVERY_TYPE, "active": _active, "type": _words, "scope": _words, "name": _words},
    "AccessPolicy": {**_EVERY_TYPE, "engine": _words, "link": _link, "type": _words},
}
_EVERY_SORT: Mapping[str, Key] = {"_id": lambda one: (0, one.id), "_lastUpdated": lambda one: (0, one.last_updated)}
_SORT_KEYS: Mapping[str, Mapping[str, Key]] = {
    "Client": {**_EVERY_SORT, "name": _text_key("name"), "type": _text_key("type")},
    "AccessPolicy": {**_EVERY_SORT, "engine": _text_key("engine")},
}
