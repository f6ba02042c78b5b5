"""A search as a typed value: criteria that a store can compile, whatever text they came from.

The criteria of a query and those of a scope are the same types, made by the same parser.
"""

from dataclasses import dataclass, replace
from typing import Literal

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
StringMode = Literal["starts", "contains", "exact"]
IndexTable = Literal["token", "reference", "string", "date", "quantity"]
SortSource = Literal["token", "reference", "string", "date", "quantity", "id", "last_updated"]
Total = Literal["none", "estimate", "accurate"]

# The values that order a result, as far as a position in it needs them; the last one is the resource's number.
Position = tuple[str | int | float | None, ...]


@dataclass(frozen=True, slots=True)
class TokenValue:
    """`code` None: any code of the system. `system` None: any system; "": no system."""

    code: str | None
    system: str | None


@dataclass(frozen=True, slots=True)
class TokenCriterion:
    """The parameter has one of the values; with `negated` it has none of them (`:not`).

    Of a reference parameter it is the identifier that the Reference holds (`:identifier`).
    """

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
class StringValue:
    """The beginning of a text, folded, as a part of a composite."""

    text: str


PartValue = TokenValue | ReferenceValue | StringValue | DateValue | QuantityValue


@dataclass(frozen=True, slots=True)
class CompositeCriterion:
    """One element has all the parts of one of the values; the first part is a token (see `composites.py`)."""

    code: str
    values: tuple[tuple[TokenValue, *tuple[PartValue, ...]], ...]


@dataclass(frozen=True, slots=True)
class MissingCriterion:
    """The parameter has no value (`missing`), or has one; `table` is the index that its kind uses."""

    code: str
    table: IndexTable
    missing: bool


@dataclass(frozen=True, slots=True)
class IdCriterion:
    """The resource's id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PositionCriterion:
    """The resource is the one at this position of the store. No parameter says so: the server's own searches do."""

    position: int


@dataclass(frozen=True, slots=True)
class LastUpdatedCriterion:
    """The resource's last change is at a time for which one of the comparisons holds."""

    values: tuple[DateValue, ...]


@dataclass(frozen=True, slots=True)
class ChainCriterion:
    """The parameter refers to a resource of one of the types, there with the criterion of that type."""

    code: str
    targets: "tuple[tuple[str, Criterion], ...]"


@dataclass(frozen=True, slots=True)
class HasCriterion:
    """A resource of the type refers to this one by the parameter `code`, and fulfils the criterion (`_has`)."""

    resource_type: str
    code: str
    criterion: "Criterion"


IndexedCriterion = (
    TokenCriterion | ReferenceCriterion | StringCriterion | DateCriterion | QuantityCriterion | CompositeCriterion
)
OwnCriterion = IndexedCriterion | MissingCriterion | IdCriterion | LastUpdatedCriterion
"""What is decided by one resource alone."""
Criterion = OwnCriterion | PositionCriterion | ChainCriterion | HasCriterion


@dataclass(frozen=True, slots=True)
class SortKey:
    """Order by the parameter's lowest value, or descending by its highest; resources without any come last."""

    code: str
    source: SortSource
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """What is to be answered beside the matches.

    Forward: what resources of the type refer to by `code` (None: by any parameter), of the type `target` only if it
    is given. Reverse: the resources of the type that refer to a match. With `iterate`, to what was included, too.
    """

    resource_type: str
    code: str | None
    target: str | None = None
    reverse: bool = False
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search of one resource type: all criteria hold, at most `count` resources are answered.

    `after` is the position of the last resource of the page before; () for the first page. A `count` of 0 asks for
    the total only.
    """

    resource_type: str
    criteria: tuple[Criterion, ...]
    count: int
    after: Position = ()
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    total: Total = "none"

    def starting_after(self, position: Position) -> "SearchQuery":
        """Return the same search for the page behind the position."""
        return replace(self, after=position)
