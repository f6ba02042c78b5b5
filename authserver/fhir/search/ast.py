"""A search as a typed value: criteria that a store can compile, whatever text they came from.

The criteria of a query and those of a scope are the same types, made by the same parser.
"""

from dataclasses import dataclass, replace
from typing import Literal

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
StringMode = Literal["starts", "contains", "exact"]


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`code` None: any code of the system. `system` None: any system; "": no system."""

    code: str | None
    system: str | None


@dataclass(frozen=True, slots=True)
class TokenCriterion:
    """The parameter has one of the values; with `negated` it has none of them (`:not`)."""

    code: str
    values: tuple[TokenValue, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """`resource_type` None: any type; "": `target` is a URL that points elsewhere."""

    target: str
    resource_type: str | None


@dataclass(frozen=True, slots=True)
class ReferenceCriterion:
    """The parameter refers to one of the values."""

    code: str
    values: tuple[ReferenceValue, ...]


@dataclass(frozen=True, slots=True)
class StringCriterion:
    """The parameter has a text that begins with, contains, or is one of the values.

    The values are folded (see `converters.folded`) unless the mode is exact.
    """

    code: str
    values: tuple[str, ...]
    mode: StringMode


@dataclass(frozen=True, slots=True)
class DateValue:
    """A comparison with the range from `start` to `end` (microseconds, end excluded)."""

    prefix: Prefix
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DateCriterion:
    """The parameter has a range of time for which one of the comparisons holds."""

    code: str
    values: tuple[DateValue, ...]


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A comparison with the numbers from `low` to `high`, the range that the written precision implies.

    `unit` matches the code, or without a system the code or the unit; None matches any.
    """

    prefix: Prefix
    number: float
    low: float
    high: float
    system: str | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class QuantityCriterion:
    """The parameter has a quantity for which one of the comparisons holds."""

    code: str
    values: tuple[QuantityValue, ...]


@dataclass(frozen=True, slots=True)
class IdCriterion:
    """The resource's id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastUpdatedCriterion:
    """The resource's last change is at a time for which one of the comparisons holds."""

    values: tuple[DateValue, ...]


IndexedCriterion = TokenCriterion | ReferenceCriterion | StringCriterion | DateCriterion | QuantityCriterion
Criterion = IndexedCriterion | IdCriterion | LastUpdatedCriterion


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search of one resource type: all criteria hold, at most `count` resources are answered.

    `after` is the position of the last resource of the page before; 0 for the first page.
    """

    resource_type: str
    criteria: tuple[Criterion, ...]
    count: int
    after: int = 0

    def starting_after(self, position: int) -> "SearchQuery":
        """Return the same search for the page behind the position."""
        return replace(self, after=position)
