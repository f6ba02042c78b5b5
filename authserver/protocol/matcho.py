"""Patterns of the engine `matcho`, compiled: what of a document does not fit a pattern, and where. PURE.

Each node of a pattern yields its mismatches lazily, so a decision stops at the first one. What is not there is null.
How a pattern is written and read is in matcho_reader.py; the meaning of each form is in docs/policies.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from authserver.protocol.linear_regex import Regex
from authserver.protocol.matcho_values import Here, Mismatch, equal, same, target_of, value_at


class Node(Protocol):
    """A part of a pattern."""

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """Yield what does not fit; nothing when all does."""


def match(pattern: Node, value: Any, *, document: Any = None) -> tuple[Mismatch, ...]:
    """Return everything in which the value does not fit; empty when it matches.

    `document` is where paths lead; the value itself if it is None.
    """
    return tuple(pattern.mismatches(Here(value, value if document is None else document)))


def matches(pattern: Node, document: Any) -> bool:
    """Say whether the document fits, looking no further than needed."""
    return fits(pattern, Here(document, document))


def fits(pattern: Node, here: Here) -> bool:
    """Say whether the value here fits."""
    return next(pattern.mismatches(here), None) is None


@dataclass(frozen=True, slots=True)
class Equal:
    """The value is this one."""

    written: Any
    value: Any
    ignore_case: bool = False

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not equal(self.value, here.value, ignore_case=self.ignore_case):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class OneOfValues:
    """The value is one of these."""

    written: Any
    values: tuple[Any, ...]
    ignore_case: bool = False

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not any(equal(value, here.value, ignore_case=self.ignore_case) for value in self.values):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Found:
    """The value is text in which the expression is found."""

    written: str
    regex: Regex

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not isinstance(here.value, str) or not self.regex.is_found_in(here.value):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class SameAsPath:
    """The value is the one at another place of the document, where there must be one."""

    written: str
    keys: tuple[str, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        there = value_at(here.document, self.keys)
        if there is None or not same(there, here.value):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class OneOfPath:
    """The value is one of the elements of a list at another place of the document."""

    written: Any
    keys: tuple[str, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        there = value_at(here.document, self.keys)
        allowed = there if isinstance(there, list) else []
        if here.value is None or not any(same(value, here.value) for value in allowed):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Is:
    """The value is there (`present?`), is not (`nil?`), or is text with more than blanks (`not-blank?`)."""

    written: str

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        present = here.value is not None
        blank = not isinstance(here.value, str) or not here.value.strip()
        if not {"present?": present, "nil?": not present, "not-blank?": not blank}[self.written]:
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Members:
    """The value is a map, and each of these members fits; it may have others."""

    written: Any
    members: tuple[tuple[str, Node], ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not isinstance(here.value, Mapping):
            yield from here.mismatch(self.written)
            return
        for name, node in self.members:
            yield from node.mismatches(here.at(name))


@dataclass(frozen=True, slots=True)
class Prefix:
    """The value is a list whose first elements fit these patterns in turn."""

    written: Any
    nodes: tuple[Node, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not isinstance(here.value, list):
            yield from here.mismatch(self.written)
            return
        for index, node in enumerate(self.nodes):
            yield from node.mismatches(here.at(index))


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these patterns fits the same value: the operators of one map."""

    nodes: tuple[Node, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        for node in self.nodes:
            yield from node.mismatches(here)


@dataclass(frozen=True, slots=True)
class OneOf:
    """Some of these patterns fits."""

    written: Any
    nodes: tuple[Node, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not any(fits(node, here) for node in self.nodes):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Not:
    """The pattern does not fit; so also where nothing is."""

    written: Any
    node: Node

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if fits(self.node, here):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Contains:
    """The value is a list, and each of these patterns fits some element of it."""

    written: Any
    nodes: tuple[Node, ...]

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        elements = here.elements()
        is_list = isinstance(here.value, list)
        if not is_list or not all(any(fits(node, element) for element in elements) for node in self.nodes):
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Every:
    """The value is a list with at least one element, and the pattern fits them all."""

    written: Any
    node: Node

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        elements = here.elements()
        if not elements:
            yield from here.mismatch(self.written)
        for element in elements:
            yield from self.node.mismatches(element)


@dataclass(frozen=True, slots=True)
class Length:
    """The value is a list of this many elements."""

    written: Any
    length: int

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        if not isinstance(here.value, list) or len(here.value) != self.length:
            yield from here.mismatch(self.written)


@dataclass(frozen=True, slots=True)
class Refers:
    """The value is a reference of the form `Type/id`, and the pattern fits `{resourceType, id}`."""

    written: Any
    node: Node

    def mismatches(self, here: Here) -> Iterator[Mismatch]:
        """See Node."""
        target = target_of(here.value)
        if target is None:
            yield from here.mismatch(self.written)
            return
        yield from self.node.mismatches(replace(here, value=target))
