"""SMART scopes: grammar of versions 1 and 2, intersection, expansion of the wildcard, canonical spelling.

Pure set algebra over what a scope means; malformed input never widens anything.
Source: SMART App Launch 2.2, "Scopes and Launch Context"; RFC 6749 section 3.3 for the characters.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import quote

from authserver.errors import InvalidScope
from authserver.protocol.resource_types import ADMINISTRATIVE_TYPES
from authserver.protocol.scope_filter import parse_filter

LETTERS = "cruds"
V1_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}
_V1_WORDS = {letters: word for word, letters in V1_LETTERS.items()}
INTROSPECT = "__introspect"
"""The scope that lets a client ask about tokens of any client (SMART names none; extension form `__…`)."""

REGISTER = "__register"
"""The scope of an initial access token (RFC 7591 section 1.2): it lets a client register further clients."""

GRANTABLE_NAMES = frozenset({INTROSPECT, REGISTER})
MAX_SCOPE_LENGTH = 8_192
MAX_FILTERED_SCOPES = 32
"""Scopes with parameters that one request may name: each may stand for every type, and all are compared."""

_REMEMBERED = 512
"""Results of parse_set(), grant() and the like that are remembered: a program asks for the same scopes each time."""

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_RESOURCE_SCOPE = re.compile(
    r"(?P<context>system|patient|user)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\."
    r"(?:(?P<v1>read|write|\*)|(?P<v2>c?r?u?d?s?)(?P<query>\?.+)?)"
)
# What looks like a resource scope in the wrong case is a mistake to report, not a name that quietly grants nothing.
_NAMED_SCOPE = re.compile(r"(?!(?i:system|patient|user)/(?:[A-Z*]|.*\.))[A-Za-z0-9_][A-Za-z0-9_:/.\-]*")
_VALUE_SAFE = "!$'()*,-./:;@_~|"


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope by its meaning.

    `interactions` is an in-order subset of "cruds"; `parameters` are decoded search parameters that all
    narrow it; `v1` remembers the version 1 word it was asked with, so that it can be answered alike.
    """

    context: str
    resource_type: str
    interactions: str
    parameters: frozenset[tuple[str, str]] = frozenset()
    v1: str | None = None

    def __str__(self) -> str:
        permission = self.v1 or self.interactions
        query = "&".join(f"{name}={quote(value, safe=_VALUE_SAFE)}" for name, value in sorted(self.parameters))
        return f"{self.context}/{self.resource_type}.{permission}" + (f"?{query}" if query else "")

    @property
    def meaning(self) -> tuple[str, str, frozenset[tuple[str, str]], str]:
        """Everything but the spelling: `.read` and `.rs` mean the same."""
        return (self.context, self.resource_type, self.parameters, self.interactions)


@dataclass(frozen=True, slots=True)
class ScopeSet:
    """What a client is registered for, asked for, or was granted: resource scopes and named ones."""

    resources: tuple[Scope, ...] = ()
    names: frozenset[str] = frozenset()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A set is looked up again and again, and hashing it takes longer the more it says.
        object.__setattr__(self, "_hash", hash((self.resources, self.names)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        """The canonical string: shortest form, sorted, single spaces."""
        return _spelled(self)

    def __bool__(self) -> bool:
        return bool(self.resources or self.names)


@lru_cache(maxsize=_REMEMBERED)
def _spelled(scopes: ScopeSet) -> str:
    return " ".join(sorted([*scopes.names, *(str(scope) for scope in scopes.resources)]))


@lru_cache(maxsize=_REMEMBERED)
def parse(text: str) -> Scope:
    """Parse one resource scope, for example `system/Observation.rs?category=laboratory`.

    Raises InvalidScope when it is not one, letters out of order included (SMART: never reinterpreted), and when it
    names a search parameter that R4 does not define for the type.
    """
    match = _RESOURCE_SCOPE.fullmatch(text) if _SCOPE_TOKEN.fullmatch(text) else None
    if match is None or match["v2"] == "":
        raise InvalidScope(detail=f"no resource scope: {text[:100]!r}", reason="scope_malformed")
    return Scope(
        context=match["context"],
        resource_type=match["type"],
        interactions=V1_LETTERS[match["v1"]] if match["v1"] else match["v2"],
        parameters=parse_filter(match["query"] or "", resource_type=match["type"]),
        v1=match["v1"],
    )


@lru_cache(maxsize=_REMEMBERED)
def parse_set(text: str) -> ScopeSet:
    """Parse a scope string (RFC 6749 section 3.3: tokens separated by one space).

    Well-formed scopes that this server never grants (`openid`, `launch`) are kept as names: they narrow to nothing.
    Raises InvalidScope when any part is malformed, or when there is too much of it (`scope_too_long`).
    """
    if len(text) > MAX_SCOPE_LENGTH:
        raise InvalidScope(detail=f"{len(text)} characters of scope", reason="scope_too_long")
    read = collect(text.split(" "))
    filtered = sum(1 for scope in read.resources if scope.parameters)
    if filtered > MAX_FILTERED_SCOPES:
        raise InvalidScope(detail=f"{filtered} scopes with parameters", reason="scope_too_long")
    return read


def collect(tokens: Iterable[str]) -> ScopeSet:
    """Parse scope tokens that are already apart; see parse_set()."""
    resources, names = [], set()
    for token in tokens:
        if _NAMED_SCOPE.fullmatch(token) is not None:
            names.add(token)
            continue
        resources.append(parse(token))
    return ScopeSet(tuple(resources), frozenset(names))


def parse_granted(text: str) -> tuple[Scope, ...]:
    """Parse the scopes of an access token for enforcement: what is malformed grants nothing."""
    granted = []
    for token in text.split(" "):
        try:
            granted.append(parse(token))
        except InvalidScope:
            continue
    return tuple(granted)


@lru_cache(maxsize=_REMEMBERED)
def grant(requested: ScopeSet, registered: ScopeSet, *, wildcard_types: frozenset[str] | None) -> ScopeSet:
    """Return what is both requested and registered, in the shortest form; only `system/` scopes are ever granted.

    `wildcard_types` are the types that `*` stands for; None keeps the wildcard as it is.
    The answer is never outside either side.
    """
    ours = _by_type(_expand(registered.resources, wildcard_types))
    met = (
        both
        for asked in _expand(requested.resources, wildcard_types)
        for held in _of_type(ours, asked.resource_type)
        if (both := intersection(asked, held)) is not None
    )
    return ScopeSet(shortest(met), requested.names & registered.names & GRANTABLE_NAMES)


@lru_cache(maxsize=_REMEMBERED)
def within(requested: ScopeSet, granted: ScopeSet, *, wildcard_types: frozenset[str] | None) -> bool:
    """Say whether `granted` permits all that was requested, each interaction for itself; see grant()."""
    ours = _by_type(granted.resources)
    return requested.names <= granted.names and all(
        any(covers(held, replace(asked, interactions=letter)) for held in _of_type(ours, asked.resource_type))
        for asked in _expand(requested.resources, wildcard_types)
        for letter in asked.interactions
    )


def intersection(asked: Scope, held: Scope) -> Scope | None:
    """Return the scope that means both, in version 1 words where `asked` uses them; None when nothing is left.

    Both filters must hold, so the parameters of both sides narrow the result.
    """
    if asked.context != "system" or held.context != "system":
        return None
    resource_type = _common_type(asked.resource_type, held.resource_type)
    letters = "".join(letter for letter in asked.interactions if letter in held.interactions)
    if resource_type is None or not letters:
        return None
    parameters = asked.parameters | held.parameters
    v1 = _V1_WORDS.get(letters) if asked.v1 and not parameters else None
    return Scope("system", resource_type, letters, parameters, v1)


def shortest(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return the same permissions in fewer words: letters joined, letters that a wider scope grants left out, sorted.

    What was asked in version 1 words alone is answered in them, as far as there is one for the letters that are left.
    """
    joined = _joined(scopes)
    rivals = _by_type(joined)
    kept = (_respelled(scope, _own_letters(scope, _wider(rivals, scope))) for scope in joined)
    return tuple(sorted((scope for scope in kept if scope.interactions), key=str))


def covers(wide: Scope, narrow: Scope) -> bool:
    """Say whether `wide` permits everything that `narrow` does."""
    return _reaches(wide, narrow) and set(wide.interactions) >= set(narrow.interactions)


def permitted(granted: Iterable[Scope], resource_type: str, letter: str) -> tuple[frozenset[tuple[str, str]], ...]:
    """Return the parameter sets under which the interaction is granted on the type.

    One set per scope that grants it; resources that match all parameters of any one set are open. Empty
    tuple: refused. A tuple with an empty set: open without condition. `letter` is one of c, r, u, d, s.
    """
    return tuple(
        scope.parameters
        for scope in granted
        if scope.context == "system"
        and letter in scope.interactions
        and _common_type(scope.resource_type, resource_type) == resource_type
    )


def _reaches(wide: Scope, narrow: Scope) -> bool:
    """Say whether `wide` speaks of every resource that `narrow` does, whatever the interactions."""
    return (
        wide.context == narrow.context
        and _common_type(wide.resource_type, narrow.resource_type) == narrow.resource_type
        and wide.parameters <= narrow.parameters
    )


def _common_type(one: str, other: str) -> str | None:
    if one == other:
        return one
    if one == "*" and other not in ADMINISTRATIVE_TYPES:
        return other
    if other == "*" and one not in ADMINISTRATIVE_TYPES:
        return one
    return None


def _by_type(scopes: Iterable[Scope]) -> Mapping[str, Sequence[Scope]]:
    found: defaultdict[str, list[Scope]] = defaultdict(list)
    for scope in scopes:
        found[scope.resource_type].append(scope)
    return dict(found)


def _wider(scopes: Mapping[str, Sequence[Scope]], narrow: Scope) -> Iterator[Scope]:
    """Yield what can cover the scope by its type: the type's own scopes and the wildcard's."""
    for resource_type in {narrow.resource_type, "*"}:
        yield from scopes.get(resource_type, ())


def _of_type(scopes: Mapping[str, Sequence[Scope]], resource_type: str) -> Iterator[Scope]:
    """Yield what can meet the type: everything, for the wildcard."""
    for held in scopes if resource_type == "*" else {resource_type, "*"}:
        yield from scopes.get(held, ())


def _expand(scopes: Iterable[Scope], wildcard_types: frozenset[str] | None) -> Iterator[Scope]:
    for scope in dict.fromkeys(scopes):
        if scope.resource_type != "*" or wildcard_types is None:
            yield scope
            continue
        for resource_type in wildcard_types - ADMINISTRATIVE_TYPES:
            yield Scope(scope.context, resource_type, scope.interactions, scope.parameters, scope.v1)


def _joined(scopes: Iterable[Scope]) -> list[Scope]:
    """Return one scope for each type and filter, with every letter that any of them grants."""
    alike: defaultdict[tuple[str, str, frozenset[tuple[str, str]]], list[Scope]] = defaultdict(list)
    for scope in scopes:
        alike[(scope.context, scope.resource_type, scope.parameters)].append(scope)
    return [_union(group) for group in alike.values()]


def _union(alike: Sequence[Scope]) -> Scope:
    letters = {letter for scope in alike for letter in scope.interactions}
    v1 = "*" if all(scope.v1 for scope in alike) else None
    return _respelled(replace(alike[0], v1=v1), letters)


def _own_letters(scope: Scope, wider: Iterable[Scope]) -> set[str]:
    """Return the letters that no other scope of the union grants without this one."""
    others = {x for rival in wider if rival is not scope and _reaches(rival, scope) for x in rival.interactions}
    return set(scope.interactions) - others


def _respelled(scope: Scope, letters: set[str]) -> Scope:
    ordered = "".join(letter for letter in LETTERS if letter in letters)
    return replace(scope, interactions=ordered, v1=_V1_WORDS.get(ordered) if scope.v1 else None)
